"""The LMDB environment of one folder: opened at first use, grown when full, repaired and reopened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb  # noqa: TID253 - loaded only when a file cache is made

from llmcore.builtin.change_log import read_changes
from llmcore.builtin.lmdb_files import DAMAGE, OpenFile, open_folder, set_aside_and_log
from llmcore.builtin.mapped_memory import measure_mapped_files
from llmcore.errors import CacheError
from llmcore.support import forks
from llmcore.support.threads import submit

__all__ = ["MAX_SLOT_BYTES", "FullError", "Store"]

MAX_SLOT_BYTES: Final = 511
"""LMDB's limit on the length of a key."""
_TRIES: Final = 64
"""The maximum number of attempts of one read or write.

A full file is doubled before the next attempt, and no file can be doubled so often.
"""
_TRIM_EVERY: Final = 1024
"""The number of transactions between two measurements of the resident pages."""
_RESIDENT_BYTES: Final = 32_000_000
"""The resident pages of mapped files are released when they have grown by this many bytes."""

_GENERATION_AT: Final = 48
"""The number of bits of a transaction number in a version. The bits above count how often the file was opened."""
_TRANSACTION: Final = (1 << _GENERATION_AT) - 1

T = TypeVar("T")


class FullError(Exception):
    """The file has no free page and must not grow. The caller may evict entries and try again."""


class _LmdbError(Exception):
    """An LMDB error and the environment that raised it."""

    def __init__(self, env: Any, problem: lmdb.Error) -> None:
        super().__init__(problem)
        self.env = env
        self.problem = problem


class Store:
    """Read and write the data of one folder. Several threads may call at the same time."""

    def __init__(self, folder: Path, map_limit: int) -> None:
        self.folder = folder
        self.map_limit = map_limit
        """Maximum bytes of the file."""
        self._opened: OpenFile | None = None
        self._env: Any = None
        self._closed = False
        self._generation = 0
        """The number of times that the file was opened.

        The number is part of the version, because the transaction numbers of a new file begin again at 0.
        """
        self._uses = 0
        self._trim_at = 0
        """The map is made again when this many bytes of mapped files are resident; 0 if the number is not known yet."""
        # Acquire these locks in this order. They keep this process from remapping or closing LMDB during one
        # of its transactions.
        self._writing = forks.lock()
        self._reading = forks.lock()
        self._opening = forks.lock()
        forks.watch(self)

    def open(self) -> None:
        """Open the file now instead of at the first use.

        Raises:
            CacheError: The folder cannot be used.
        """
        with self._opening:
            self._get_env()

    def get(self, slot: bytes) -> bytes | None:
        """Return the value of *slot*; None if *slot* is empty."""
        try:
            with self._reading:
                txn = (self._env or self._open_env()).begin()
                data: bytes | None = txn.get(slot)
                txn.abort()
            self._count_use()
        except lmdb.Error:
            data = self.read(lambda txn: txn.get(slot))  # `read` repairs the file and tries again
        return data

    def read(self, work: Callable[[Any], T], *, buffers: bool = False) -> T:
        """Call *work* with a read transaction and return its result.

        *work* must be fast. Keys and values are bytes; with *buffers* they are memoryviews, which are valid
        only during the transaction.

        Raises:
            CacheError: The file cannot be read. For a damaged file, no error is raised: the file is renamed, and
                *work* reads a new, empty file.
        """
        for _ in range(_TRIES):
            try:
                with self._reading:
                    return self._attempt(work, write=False, buffers=buffers)
            except _LmdbError as trouble:
                env, problem = trouble.env, trouble.problem
            if not self._repair(env, problem):
                break
        raise self._make_failure(problem)

    def write(self, work: Callable[[Any], T]) -> T:
        """Call *work* with a write transaction and return its result.

        The transaction is rolled back if *work* raises. Values are memoryviews, which are valid until the
        first change in the transaction.

        Raises:
            FullError: The file is full.
            CacheError: The file cannot be written.
        """
        for _ in range(_TRIES):
            try:
                with self._writing:
                    result = self._attempt(work, write=True, buffers=True)
            except _LmdbError as trouble:
                env, problem = trouble.env, trouble.problem
            else:
                self._count_use()
                return result
            if not self._repair(env, problem):
                break
        if isinstance(problem, lmdb.MapFullError):
            raise FullError
        raise self._make_failure(problem)

    def count_live_bytes(self) -> int:
        """Return the size of all pages that contain entries."""
        try:
            with self._reading:
                stat = (self._env or self._open_env()).stat()
        except lmdb.Error:
            self.read(lambda txn: txn.id())  # `read` repairs the file
            with self._reading:
                stat = (self._env or self._open_env()).stat()
        pages: int = stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]
        return pages * int(stat["psize"])

    def version(self) -> int:
        """Return a number that changes with every write by any process."""
        try:
            with self._reading:
                txn = (self._env or self._open_env()).begin()
                written: int = txn.id()
                txn.abort()
        except lmdb.Error:
            written = self.read(lambda txn: txn.id())  # `read` repairs the file and tries again
        return self._generation << _GENERATION_AT | written

    def changes_since(self, version: int, namespace: bytes) -> tuple[int, list[str] | None]:
        """Return the current version, and the keys of *namespace* that changed after *version*.

        The second result is None if any key may have changed.
        """
        now, keys = self.read(lambda txn: (txn.id(), read_changes(txn, namespace, version & _TRANSACTION)))
        is_same_file = version >> _GENERATION_AT == self._generation
        return self._generation << _GENERATION_AT | now, keys if is_same_file else None

    def clear_dead_readers(self) -> None:
        """Free the pages that are reserved for killed processes."""
        with self._reading:
            (self._env or self._open_env()).reader_check()

    def close(self) -> None:
        """Close the file. The last process that uses the file syncs the file to the disk."""
        with self._writing, self._reading, self._opening:
            self._closed = True
            self._release()

    def after_fork(self) -> None:
        """Drop the environment, because a forked child must not use its parent's; see `forks.ForkAware`."""
        opened, self._opened, self._env = self._opened, None, None
        if opened is not None:
            opened.abandon(close=all(map(forks.was_free, (self._writing, self._reading, self._opening))))

    def _attempt(self, work: Callable[[Any], T], *, write: bool, buffers: bool) -> T:
        env = self._env or self._open_env()
        try:
            if write and self._opened is not None:
                self._opened.mark_writing()
            with env.begin(write=write, buffers=buffers) as txn:
                return work(txn)
        except lmdb.Error as error:
            # Drop the frames of the traceback. They refer to the transaction, and LMDB must not be remapped
            # during a transaction.
            problem = error.with_traceback(None)
        except OSError as error:
            problem = lmdb.Error(f"the crash mark: {error.strerror}")
        raise _LmdbError(env, problem)

    def _count_use(self) -> None:
        """Count a transaction, and release the resident pages of the map now and then.

        Resident pages count as memory of the process, so a process that uses much of the file, such as a long
        batch, would seem to need much memory. Released pages stay in the memory of the system, so their next
        use reads no disk.
        """
        self._uses += 1
        if self._uses % _TRIM_EVERY or (resident := measure_mapped_files()) is None:
            return
        if not self._trim_at:
            self._trim_at = resident + _RESIDENT_BYTES
        elif resident > self._trim_at:
            self._trim_at = 0
            # in another thread, because this thread may be in a transaction
            submit(self._trim, otherwise=lambda: None)

    def _trim(self) -> None:
        """Make the map again. The new map has no resident pages."""
        with self._writing, self._reading:
            if self._env is not None:
                self._env.set_mapsize(self._env.info()["map_size"])

    def _repair(self, env: Any, problem: lmdb.Error) -> bool:
        """Try to remove the cause of *problem*; return whether to try again."""
        with self._writing, self._reading:
            if self._env is not env:
                return True  # another thread has repaired the file
            if isinstance(problem, lmdb.MapFullError):
                return self._grow()
            if isinstance(problem, lmdb.MapResizedError):
                env.set_mapsize(0)  # another process grew the file: use its size
            elif isinstance(problem, lmdb.ReadersFullError):
                return bool(env.reader_check())
            elif isinstance(problem, lmdb.PanicError):
                # LMDB could not write a meta page, on a full disk for example. The file is intact: open it
                # again.
                self._release()
            elif isinstance(problem, DAMAGE):
                self._release()
                set_aside_and_log(self.folder, str(problem))
            else:
                return False
        return True

    def _grow(self) -> bool:
        size: int = self._env.info()["map_size"]
        if size >= self.map_limit:
            return False
        self._env.set_mapsize(min(2 * size, self.map_limit))
        return True

    def _open_env(self) -> Any:
        with self._opening:
            return self._get_env()

    def _get_env(self) -> Any:
        if self._closed:
            raise CacheError(f"the cache in {self.folder} is closed", expected="a call before `close`")
        if self._opened is None:
            self._opened = open_folder(self.folder, self.map_limit)
            self._generation += 1
            self._env = self._opened.env
        return self._env

    def _release(self) -> None:
        opened, self._opened, self._env = self._opened, None, None
        if opened is not None:
            opened.close()

    def _make_failure(self, problem: lmdb.Error) -> CacheError:
        return CacheError(f"the cache in {self.folder} failed: {problem}", fix="llmcore doctor")
