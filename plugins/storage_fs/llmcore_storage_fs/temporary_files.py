"""Write files atomically, and delete the temporary files of dead writers.

A writer creates the file under a temporary name in the target's folder and holds a lock on the temporary file. The
kernel releases the lock when the writer ends, even after a crash. A temporary file that can be locked therefore has
no living writer.
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

__all__ = ["Buffer", "FileWriter", "sweep", "write"]

Buffer: TypeAlias = bytes | bytearray | memoryview

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_TRIES: Final = 100
_PIECE: Final = 1 << 24


class FileWriter:
    """An unfinished file. `publish` gives the file its final name; `abandon` deletes the file.

    Args:
        folder: The folder of the file. The caller closes the folder.
        name: The final name of the file.
        check_allowed: Called by `publish` right before the rename, with the folder locked. An exception prevents the
            rename.
        must_lock: True if the file system must support locks, because *check_allowed* checks a condition.
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
        """Rename the file to its final name and flush it to disk.

        Raises:
            OSError: The file could not be renamed, or a flush failed. The final name then refers to the old file
                or to the new file, and either is complete.
        """
        with self._unfinished as unfinished:
            described = unfinished.flush()
            with self._folder.lock(must=self._must_lock):
                self._allowed()
                unfinished.rename(self._name)
        self._folder.sync()
        return described

    def abandon(self) -> None:
        """Delete the temporary file. After `publish`, this has no effect."""
        self._unfinished.remove()


def write(writing: FileWriter, pieces: Iterable[Buffer]) -> os.stat_result:
    """Write *pieces* and publish the file. On an exception, abandon the file."""
    try:
        for piece in pieces:
            writing.write(piece)
        return writing.publish()
    finally:
        writing.abandon()


def sweep(folder: Folder, depth: int = MAX_PARTS) -> None:
    """Delete the temporary files of dead writers in and below *folder*. Skip unreadable folders."""
    with suppress(OSError):
        for entry in list(folder.scan()):
            if entry.name.startswith(TEMPORARY):
                _remove_if_dead(folder, entry.name)
            elif depth and entry.is_dir(follow_symlinks=False):
                with suppress(OSError), folder.open_child(entry.name, create=False) as deeper:
                    sweep(deeper, depth - 1)


class _TemporaryFile:
    """A file under its temporary name. The context manager deletes the file unless `rename` was called."""

    def __init__(self, folder: Folder) -> None:
        self.name = f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(12)}"
        self._folder = folder
        self._fd = folder.open(self.name, _CREATE)
        self._renamed = False

    def try_claim(self) -> bool:
        """Lock the file. Return False if another process has already locked or deleted the file."""
        return try_lock(self._fd) is not False and (not AMONG_PROCESSES or os.fstat(self._fd).st_nlink > 0)

    def write(self, data: Buffer) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(self._fd, rest[:_PIECE]) :]

    def flush(self) -> os.stat_result:
        """Flush the file to disk. Return its final status."""
        # Set the exact time: the file system's own timestamps have steps of milliseconds, too coarse to tell two versions apart.
        now = time.time_ns()
        if os.utime in os.supports_fd:
            os.utime(self._fd, ns=(now, now))
        _flush(self._fd)
        return os.fstat(self._fd)

    def remove(self) -> None:
        """Close the file. Delete it unless `rename` was called."""
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


def _create(folder: Folder) -> _TemporaryFile:
    for _ in range(_TRIES):
        with ExitStack() as undo:
            unfinished = undo.enter_context(_TemporaryFile(folder))
            if unfinished.try_claim():
                undo.pop_all()
                return unfinished
    raise OSError(errno.EAGAIN, "another process repeatedly deletes the temporary files")


def _remove_if_dead(folder: Folder, name: str) -> None:
    with suppress(OSError):
        if not stat.S_ISREG(folder.stat(name).st_mode):
            return
        fd = folder.open(name, os.O_RDWR)
        if not AMONG_PROCESSES:
            os.close(fd)
            folder.unlink(name)  # on Windows, this fails while a process has the file open
            return
        try:
            if try_lock(fd):
                folder.unlink(name)
        finally:
            os.close(fd)


def _flush(fd: int) -> None:
    if sys.platform == "darwin":  # on macOS, fsync leaves the data in the drive's cache
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)
