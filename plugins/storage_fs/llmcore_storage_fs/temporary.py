"""Writes a file whole or not at all, and clears away what writers that died have left.

An unfinished file bears a name of its own in the same folder and is locked while its writer lives. The kernel
drops the lock with the writer, in whatever way it ends: so what can be locked has nobody any more, in any
process, container or boot.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final, Self

from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.keys import MAX_PARTS, TEMPORARY

__all__ = ["sweep", "write"]

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_TRIES: Final = 100
_PIECE: Final = 1 << 24
_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows removes no open file, which does as well, and renames none, which does not
    _fcntl = None


def write(folder: Folder, name: str, data: bytes) -> None:
    """Put *data* under *name*: when it returns, the disk has it; when it raises, a file is there whole.

    Raises:
        OSError: It was not written, or the disk did not say that it was.
    """
    with _create(folder) as unfinished:
        unfinished.write(data)
        unfinished.rename(name)
    folder.sync()


def sweep(folder: Folder, depth: int = MAX_PARTS) -> None:
    """Remove the leftovers of dead writers from *folder* and those below it; skip what cannot be read."""
    with suppress(OSError):
        for entry in list(folder.scan()):
            if entry.name.startswith(TEMPORARY):
                _remove_if_dead(folder, entry.name)
            elif depth and entry.is_dir(follow_symlinks=False):
                with suppress(OSError), folder.child(entry.name, create=False) as deeper:
                    sweep(deeper, depth - 1)


class _Unfinished:
    """A file under its temporary name, removed when it is left before it has another."""

    def __init__(self, folder: Folder) -> None:
        self.name = f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(12)}"
        self._folder = folder
        self._fd = folder.open(self.name, _CREATE)
        self._renamed = False

    def taken(self) -> bool:
        """Lock the file; return whether it is ours: a sweep that came in between holds it, or has removed it."""
        return _lock(self._fd) is not False and (_fcntl is None or os.fstat(self._fd).st_nlink > 0)

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest[:_PIECE]) :]
        _flush(self._fd)

    def rename(self, name: str) -> None:
        if _fcntl is None:
            self._close()
        self._folder.rename(self.name, name)
        self._renamed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._close()
        if not self._renamed:
            with suppress(OSError):
                self._folder.unlink(self.name)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _create(folder: Folder) -> _Unfinished:
    for _ in range(_TRIES):
        with ExitStack() as undo:
            unfinished = undo.enter_context(_Unfinished(folder))
            if unfinished.taken():
                undo.pop_all()
                return unfinished
    raise OSError(errno.EAGAIN, "unfinished files are being swept away all the time")


def _remove_if_dead(folder: Folder, name: str) -> None:
    with suppress(OSError):
        if not stat.S_ISREG(folder.stat(name).st_mode):
            return
        fd = folder.open(name, os.O_RDWR)
        if _fcntl is None:
            os.close(fd)
            folder.unlink(name)  # which fails where somebody has it open
            return
        try:
            if _lock(fd):
                folder.unlink(name)
        finally:
            os.close(fd)


def _lock(fd: int) -> bool | None:
    """Take the lock; return whether it was free, None where the file system has no locks."""
    if _fcntl is None:
        return None
    try:
        _fcntl.flock(fd, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _flush(fd: int) -> None:
    full = getattr(_fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync alone leaves the data in the drive's own cache
        with suppress(OSError):
            _fcntl.fcntl(fd, full)
            return
    os.fsync(fd)
