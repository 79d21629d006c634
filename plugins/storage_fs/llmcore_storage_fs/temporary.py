"""Write files atomically, and delete the temporary files of dead writers.

A file is written under a temporary name in the same folder, and locked as long as its writer lives. The kernel releases the
lock when the writer ends, in whatever way. So a temporary file that can be locked has no writer in any process or container.
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

from llmcore.support.storage_keys import MAX_PARTS, TEMPORARY
from llmcore_storage_fs.folders import Folder
from llmcore_storage_fs.locks import AMONG_PROCESSES, try_lock

__all__ = ["Buffer", "Writing", "sweep", "write"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_TRIES: Final = 100
_PIECE: Final = 1 << 24


class Writing:
    """A file that is being written. It is not visible before `publish`; `abandon` deletes it.

    Args:
        folder: The folder of the file, which the caller closes.
        name: The final name of the file.
        check_allowed: The last check, called with the folder locked. It raises if the file must not be published.
        must_lock: Whether the file system must have locks, because *check_allowed* checks a condition.
    """

    def __init__(
        self, folder: Folder, name: str, check_allowed: Callable[[], None], *, must_lock: bool = False
    ) -> None:
        self._folder = folder
        self._name = name
        self._allowed = check_allowed
        self._must_lock = must_lock
        self._unfinished = _create(folder)

    def write(self, data: Buffer) -> None:
        """Append *data*."""
        self._unfinished.write(data)

    def publish(self) -> os.stat_result:
        """Rename the file to its final name. After the return, it is on the disk.

        Raises:
            OSError: The file was not written, or possibly not flushed. The old or the new file is there, complete.
        """
        with self._unfinished as unfinished:
            described = unfinished.flush()
            with self._folder.lock(must=self._must_lock):
                self._allowed()
                unfinished.rename(self._name)
        self._folder.sync()
        return described

    def abandon(self) -> None:
        """Delete the temporary file. Do nothing after `publish`."""
        self._unfinished.remove()


def write(writing: Writing, pieces: Iterable[Buffer]) -> os.stat_result:
    """Write the *pieces* and publish the file, or abandon it if an exception is raised."""
    try:
        for piece in pieces:
            writing.write(piece)
        return writing.publish()
    finally:
        writing.abandon()


def sweep(folder: Folder, depth: int = MAX_PARTS) -> None:
    """Delete the temporary files of dead writers in *folder* and below; skip folders that cannot be read."""
    with suppress(OSError):
        for entry in list(folder.scan()):
            if entry.name.startswith(TEMPORARY):
                _remove_if_dead(folder, entry.name)
            elif depth and entry.is_dir(follow_symlinks=False):
                with suppress(OSError), folder.child(entry.name, create=False) as deeper:
                    sweep(deeper, depth - 1)


class _Unfinished:
    """A file under its temporary name. The context deletes it unless it was renamed."""

    def __init__(self, folder: Folder) -> None:
        self.name = f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(12)}"
        self._folder = folder
        self._fd = folder.open(self.name, _CREATE)
        self._renamed = False

    def try_claim(self) -> bool:
        """Lock the file; return whether that succeeded. A concurrent sweep may have locked or deleted it."""
        return try_lock(self._fd) is not False and (not AMONG_PROCESSES or os.fstat(self._fd).st_nlink > 0)

    def write(self, data: Buffer) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(self._fd, rest[:_PIECE]) :]

    def flush(self) -> os.stat_result:
        """Flush the file to the disk; return its final status."""
        # The system's timestamps have a resolution of milliseconds, too coarse to distinguish two files.
        now = time.time_ns()
        if os.utime in os.supports_fd:
            os.utime(self._fd, ns=(now, now))
        _flush(self._fd)
        return os.fstat(self._fd)

    def remove(self) -> None:
        """Close the file, and delete it unless it was renamed."""
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
            if unfinished.try_claim():
                undo.pop_all()
                return unfinished
    raise OSError(errno.EAGAIN, "another process deletes the temporary files all the time")


def _remove_if_dead(folder: Folder, name: str) -> None:
    with suppress(OSError):
        if not stat.S_ISREG(folder.stat(name).st_mode):
            return
        fd = folder.open(name, os.O_RDWR)
        if not AMONG_PROCESSES:
            os.close(fd)
            folder.unlink(name)  # fails if a process has it open
            return
        try:
            if try_lock(fd):
                folder.unlink(name)
        finally:
            os.close(fd)


def _flush(fd: int) -> None:
    if sys.platform == "darwin":  # fsync alone leaves the data in the cache of the drive
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)
