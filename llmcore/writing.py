"""A file, written wholly or not at all, in place of what was there."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["written"]

_STREAMS: Final = ("/dev/fd/", "/dev/std", "/proc/")
"""Names of what the process has open already, which may be a regular file that others write to as well."""


def written(path: Path, pieces: Iterable[bytes]) -> None:
    """Write *pieces* to the file *path*: what was there stays until all of them are, and keeps its mode.

    A link is followed. A pipe, a device or a stream of the process is written to as the pieces come.

    Raises:
        OSError: It cannot be written, and names *path*; of a regular file what was there is as it was.
    """
    try:
        there = _found(path)
        if there is None or (stat.S_ISREG(there.st_mode) and not str(path.absolute()).startswith(_STREAMS)):
            _replaced(Path(os.path.realpath(path)), there, pieces)
        else:
            with path.open("wb") as file:
                file.writelines(pieces)
    except OSError as error:
        fault = OSError(error.errno, error.strerror, str(path))
    else:
        return
    raise fault


def _found(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replaced(path: Path, there: os.stat_result | None, pieces: Iterable[bytes]) -> None:
    beside = path.with_name(f".{secrets.token_hex(6)}.part")  # short: *path* may be as long as a name can be
    mode = 0o666 if there is None else stat.S_IMODE(there.st_mode)
    try:
        # Nobody whom the old file kept out sees into the new one, at no moment.
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o666), "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        if there is not None:
            beside.chmod(mode)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
