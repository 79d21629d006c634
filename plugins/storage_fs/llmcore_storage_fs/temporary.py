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
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, Self, TypeAlias

from llmcore.contracts.storage_keys import MAX_PARTS, TEMPORARY
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.locks import AMONG_PROCESSES, try_lock

__all__ = ["Buffer", "Writing", "sweep", "write"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_TRIES: Final = 100
_PIECE: Final = 1 << 24


class Writing:
    """A file that is being written. Until `publish` nobody sees it; `abandon` leaves nothing behind.

    Args:
        folder: Where it is to stand. It stays the caller's.
        name: The name that it is to have.
        allowed: Called last, with the folder locked; raises what speaks against it.
        must_lock: Whether a condition has to be held, for which the file system must have locks.
    """

    def __init__(
        self, folder: Folder, name: str, allowed: Callable[[], None], *, must_lock: bool = False
    ) -> None:
        self._folder = folder
        self._name = name
        self._allowed = allowed
        self._must_lock = must_lock
        self._unfinished = _create(folder)

    def write(self, data: Buffer) -> None:
        """Append *data*."""
        self._unfinished.write(data)

    def publish(self) -> os.stat_result:
        """Give the file its name: when it returns, the disk has it; when it raises, a file is there whole.

        Raises:
            OSError: It was not written, or the disk did not say that it was.
        """
        with self._unfinished as unfinished:
            described = unfinished.finished()
            with self._folder.lock(must=self._must_lock):
                self._allowed()
                unfinished.rename(self._name)
        self._folder.sync()
        return described

    def abandon(self) -> None:
        """Remove what was written so far; harmless after `publish`."""
        self._unfinished.remove()


def write(writing: Writing, pieces: Iterable[Buffer]) -> os.stat_result:
    """Write the *pieces* and publish them, or abandon the file where one cannot be had or written."""
    try:
        for piece in pieces:
            writing.write(piece)
        return writing.publish()
    finally:
        writing.abandon()


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
        return try_lock(self._fd) is not False and (not AMONG_PROCESSES or os.fstat(self._fd).st_nlink > 0)

    def write(self, data: Buffer) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(self._fd, rest[:_PIECE]) :]

    def finished(self) -> os.stat_result:
        """Bring it to the disk; return what describes it from now on."""
        # The system's own stamp moves on only every few milliseconds: too coarse to tell two files apart.
        now = time.time_ns()
        if os.utime in os.supports_fd:
            os.utime(self._fd, ns=(now, now))
        _flush(self._fd)
        return os.fstat(self._fd)

    def remove(self) -> None:
        """Close the file, and remove it unless it has another name by now."""
        with suppress(OSError):
            self._close()
        if not self._renamed:
            self._renamed = True
            with suppress(OSError):
                self._folder.unlink(self.name)

    def rename(self, name: str) -> None:
        if not AMONG_PROCESSES:
            self._close()
        self._folder.rename(self.name, name)
        self._renamed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

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
        if not AMONG_PROCESSES:
            os.close(fd)
            folder.unlink(name)  # which fails where somebody has it open
            return
        try:
            if try_lock(fd):
                folder.unlink(name)
        finally:
            os.close(fd)


def _flush(fd: int) -> None:
    if sys.platform == "darwin":  # where fsync alone leaves the data in the drive's own cache
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)
