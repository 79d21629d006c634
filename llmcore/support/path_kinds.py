"""Determine the kind of a path: a file, a directory, absent, a broken link or forbidden."""

from __future__ import annotations

import enum
import errno
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["PathKind", "classify_path"]


class PathKind(enum.Enum):
    """The kinds of paths. The value completes the sentence "the path is ..."."""

    ABSENT = "absent"
    FILE = "a file"
    DIRECTORY = "a directory"
    BROKEN_LINK = "a symbolic link to nothing"
    CIRCULAR_LINK = "a symbolic link that leads back to itself"
    NO_PERMISSION = "in a directory that may not be entered"
    OTHER = "neither a file nor a directory"
    """A pipe, a socket, a device, or a path that the file system refuses."""


_BY_ERROR: Final = {
    errno.ENOENT: PathKind.ABSENT,
    errno.ENOTDIR: PathKind.ABSENT,
    errno.ENAMETOOLONG: PathKind.ABSENT,
    errno.ELOOP: PathKind.CIRCULAR_LINK,
    errno.EACCES: PathKind.NO_PERMISSION,
    errno.EPERM: PathKind.NO_PERMISSION,
}


def classify_path(path: str | os.PathLike[str]) -> PathKind:
    """Return the kind of *path*. Links are followed. The function never raises OSError."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        kind = _BY_ERROR.get(error.errno or 0, PathKind.OTHER)
        return PathKind.BROKEN_LINK if kind is PathKind.ABSENT and _is_link(path) else kind
    except ValueError:  # a NUL byte, or a character that the file system cannot encode
        return PathKind.ABSENT
    if stat.S_ISREG(mode):
        return PathKind.FILE
    return PathKind.DIRECTORY if stat.S_ISDIR(mode) else PathKind.OTHER


def _is_link(path: str | os.PathLike[str]) -> bool:
    try:
        return stat.S_ISLNK(Path(path).lstat().st_mode)
    except OSError:
        return False
