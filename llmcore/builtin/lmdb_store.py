"""One LMDB environment a folder and process: opened when needed, shared, grown, reopened after a fork."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb  # noqa: TID253 - loaded only when a file cache is made

from llmcore.builtin import forks
from llmcore.builtin.lmdb_files import DAMAGE, Opened, open_folder, put_aside
from llmcore.errors import CacheError

__all__ = ["MAX_SLOT_BYTES", "FullError", "Store"]

MAX_SLOT_BYTES: Final = 511
"""LMDB's own limit on the length of a key."""
_TRIES: Final = 64
"""More than a file can be doubled, or another process can double it."""

T = TypeVar("T")


class FullError(Exception):
    """The file has no page left and may not grow; meant for those who can make room."""


class _TroubleError(Exception):
    """LMDB refused; carries what it said, and the environment that it said it of."""

    def __init__(self, env: Any, problem: lmdb.Error) -> None:
        super().__init__(problem)
        self.env = env
        self.problem = problem


class Store:
    """Reads and writes one folder's data. Several threads may call at once."""

    def __init__(self, folder: Path, map_limit: int) -> None:
        self.folder = folder
        self.map_limit = map_limit
        """Bytes that the file may grow to."""
        self._opened: Opened | None = None
        self._env: Any = None
        self._closed = False
        self._generation = 0
        """How often the file was opened: one that was set aside begins to count anew."""
        self._make_locks()
        forks.watch(self)

    def open(self) -> None:
        """Open the file now rather than at the first use.

        Raises:
            CacheError: The folder cannot be used.
        """
        with self._opening:
            self._opened_env()

    def get(self, slot: bytes) -> bytes | None:
        """Return what lies under *slot*."""
        try:
            with self._reading:
                txn = (self._env or self._open_late()).begin()
                data: bytes | None = txn.get(slot)
                txn.abort()
        except lmdb.Error:
            data = self.read(lambda txn: txn.get(slot))  # it mends what can be mended
        return data

    def read(self, work: Callable[[Any], T], *, buffers: bool = False) -> T:
        """Return what *work* makes of a read transaction; it must be quick, and keep nothing of it.

        Keys and values are bytes; with *buffers* memoryviews, which end with the transaction.

        Raises:
            CacheError: The file cannot be read. One that is damaged is set aside instead, and is empty then.
        """
        for _ in range(_TRIES):
            try:
                with self._reading:
                    return self._attempt(work, write=False, buffers=buffers)
            except _TroubleError as trouble:
                env, problem = trouble.env, trouble.problem
            if not self._mended(env, problem):
                break
        raise self._failure(problem)

    def write(self, work: Callable[[Any], T]) -> T:
        """Return what *work* makes of a write transaction: all of it is kept, or, where it raises, nothing.

        Values are memoryviews, which end with the transaction and with its first change.

        Raises:
            FullError: There is no room.
            CacheError: The file cannot be written.
        """
        for _ in range(_TRIES):
            try:
                with self._writing:
                    return self._attempt(work, write=True, buffers=True)
            except _TroubleError as trouble:
                env, problem = trouble.env, trouble.problem
            if not self._mended(env, problem):
                break
        if isinstance(problem, lmdb.MapFullError):
            raise FullError
        raise self._failure(problem)

    def live_bytes(self) -> int:
        """Return the size of all pages that hold entries."""
        try:
            with self._reading:
                stat = (self._env or self._open_late()).stat()
        except lmdb.Error:
            self.read(lambda txn: txn.id())  # it mends what can be mended
            with self._reading:
                stat = (self._env or self._open_late()).stat()
        pages: int = stat["leaf_pages"] + stat["branch_pages"] + stat["overflow_pages"]
        return pages * int(stat["psize"])

    def version(self) -> int:
        """Return a number that changes with every write, by whichever process."""
        try:
            with self._reading:
                txn = (self._env or self._open_late()).begin()
                written: int = txn.id()
                txn.abort()
        except lmdb.Error:
            written = self.read(lambda txn: txn.id())  # it mends what can be mended
        return self._generation << 48 | written

    def forget_dead_readers(self) -> None:
        """Free the pages that a killed process was reading."""
        with self._reading:
            (self._env or self._open_late()).reader_check()

    def close(self) -> None:
        """Put everything on the disk, where this is the last process to use it, and let go of the file."""
        with self._writing, self._reading, self._opening:
            self._closed = True
            self._let_go()

    def fork_locks(self) -> tuple[threading.Lock, ...]:
        """See `forks.ForkAware`."""
        return self._writing, self._reading, self._opening

    def after_fork(self, *, at_rest: bool) -> None:
        """See `forks.ForkAware`: LMDB forbids a child to use what its parent opened."""
        self._make_locks()
        opened, self._opened, self._env = self._opened, None, None
        if opened is not None:
            opened.abandon(close=at_rest)

    def _make_locks(self) -> None:
        # Taken in this order. LMDB must not be remapped or closed under a transaction of this process.
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._opening = threading.Lock()

    def _attempt(self, work: Callable[[Any], T], *, write: bool, buffers: bool) -> T:
        env = self._env or self._open_late()
        try:
            if write and self._opened is not None:
                self._opened.mark_writing()
            with env.begin(write=write, buffers=buffers) as txn:
                return work(txn)
        except lmdb.Error as error:
            # Without its frames, which hold the transaction: LMDB must not be remapped under it.
            problem = error.with_traceback(None)
        except OSError as error:
            problem = lmdb.Error(f"its mark: {error.strerror}")
        raise _TroubleError(env, problem)

    def _mended(self, env: Any, problem: lmdb.Error) -> bool:
        """Do what can be done about *problem*; return whether to try again."""
        with self._writing, self._reading:
            if self._env is not env:
                return True  # another thread was here before
            if isinstance(problem, lmdb.MapFullError):
                return self._grow()
            if isinstance(problem, lmdb.MapResizedError):
                env.set_mapsize(0)  # another process grew the file: take its size
            elif isinstance(problem, lmdb.ReadersFullError):
                return bool(env.reader_check())
            elif isinstance(problem, lmdb.PanicError):
                self._let_go()  # a failed write of a meta page, as on a full disk: the file itself is whole
            elif isinstance(problem, DAMAGE):
                self._let_go()
                put_aside(self.folder, str(problem))
            else:
                return False
        return True

    def _grow(self) -> bool:
        size: int = self._env.info()["map_size"]
        if size >= self.map_limit:
            return False
        self._env.set_mapsize(min(2 * size, self.map_limit))
        return True

    def _open_late(self) -> Any:
        with self._opening:
            return self._opened_env()

    def _opened_env(self) -> Any:
        if self._closed:
            raise CacheError(f"the cache in {self.folder} is closed", expected="a call before `close`")
        if self._opened is None:
            self._opened = open_folder(self.folder, self.map_limit)
            self._generation += 1
            self._env = self._opened.env
        return self._env

    def _let_go(self) -> None:
        opened, self._opened, self._env = self._opened, None, None
        if opened is not None:
            opened.close()

    def _failure(self, problem: lmdb.Error) -> CacheError:
        return CacheError(f"the cache in {self.folder} failed: {problem}", fix="llmcore doctor")
