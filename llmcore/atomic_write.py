"""Write a file atomically: a reader sees the old or the new content, never a part of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from llmcore.errors import LLMCoreError

__all__ = ["write_atomically"]

_STREAMS: Final = ("/dev/fd/", "/dev/std", "/proc/")
"""Paths that name open files of this process, such as /dev/stdout.

Such a file is written in place, not replaced, because other processes may write to it too.
"""


def write_atomically(path: Path, pieces: Iterable[bytes]) -> None:
    """Write *pieces* to the file *path*.

    The old content is replaced only after the last piece. The mode of an existing file is preserved. Symbolic links
    are followed. For a pipe, a device or a stream of the process, the pieces are written as they arrive.

    Raises:
        OSError: *path* cannot be written. A regular file is left unchanged, except under /dev/ and /proc/.
    """
    try:
        existing = _get_stat(path)
        if existing is None or (
            stat.S_ISREG(existing.st_mode) and not str(path.absolute()).startswith(_STREAMS)
        ):
            _replace_file(Path(os.path.realpath(path)), existing, pieces)
        else:
            with path.open("wb") as file:
                file.writelines(pieces)
    except LLMCoreError:
        # The iterator of *pieces* raised this error. This clause is first, because StorageNotFound is also an
        # OSError.
        raise
    except OSError as error:
        fault = OSError(error.errno, error.strerror, str(path))
    else:
        return
    raise fault


def _get_stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replace_file(path: Path, existing: os.stat_result | None, pieces: Iterable[bytes]) -> None:
    # a short name, because the name in *path* may already have the maximum length
    temporary = path.with_name(f".{secrets.token_hex(6)}.part")
    mode = 0o666 if existing is None else stat.S_IMODE(existing.st_mode)
    try:
        # Create the file with the old file's mode: otherwise more users could read the content for a moment.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o666), "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        if existing is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
