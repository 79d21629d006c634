"""The ledger's SQLite file in WAL mode: the schema, the checkpoints, and one connection per process."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import apsw

from llmcore.builtin.sqlite_ledger.schema import migrate
from llmcore.support import forks
from llmcore.support.threads import start_thread

__all__ = ["Database"]

T = TypeVar("T")

_CHECKPOINT_PAGES: Final = 1000
"""A checkpoint runs in a separate thread after this many pages.

SQLite's automatic checkpoint would delay the call that triggers it.
"""


class Database:
    """One ledger file. Hold `lock` while you use the connection.

    Args:
        path: The path of the file. Missing files and folders are created, readable only by this user.
        durable: True if a commit survives a power cut, at the cost of one fsync per commit. A killed process loses
            nothing in either case.
        prepare: Creates or migrates the tables; by default the tables of the ledger.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = False,
        prepare: Callable[[apsw.Connection], None] = migrate,
    ) -> None:
        self.path = path
        self._prepare = prepare
        self.after_checkpoint: Callable[[apsw.Connection], None] = lambda _: None
        """A function that the thread of a checkpoint calls with a second connection.

        The function must not write. A fork waits until the function returns.
        """
        # Re-entrant: the garbage collector may settle a call in a thread that already holds the lock.
        self.lock = forks.lock()
        self._durable = durable
        self._connection: apsw.Connection | None = None
        self._lock_deadline = 0.0
        self._checkpoint_at = _CHECKPOINT_PAGES
        forks.close_before(self)
        forks.watch(self)

    @property
    def is_open(self) -> bool:
        """True if the file was opened, and not closed since."""
        return self._connection is not None

    def connect(self, *, timeout_s: float) -> apsw.Connection:
        """Return the connection; the first call opens it.

        Statements wait at most *timeout_s* for locks of other processes.

        Raises:
            apsw.Error: The file cannot be opened, or is not a ledger.
            OSError: The folder cannot be created.
        """
        self._lock_deadline = time.monotonic() + timeout_s
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def open_reader(self, timeout_s: float = 10.0) -> apsw.Connection:
        """Return a new connection for reading, which the caller closes."""
        with self.lock:
            self.connect(timeout_s=timeout_s)
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(round(timeout_s * 1000))
        return connection

    def read(self, work: Callable[[apsw.Connection], T], timeout_s: float) -> T:
        """Call *work* with a separate connection in one read transaction. Return its result."""
        with forks.delay():  # a forked child would inherit SQLite's internal locks in a locked state
            reader = self.open_reader(timeout_s)
            try:
                reader.execute("BEGIN")
                return work(reader)
            finally:
                reader.close()

    def close(self) -> None:
        """Close the connection. The next use opens another one."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # -- fork

    def before_fork(self) -> None:
        """Close the file.

        SQLite keeps a table of the locks that the process holds. A forked child would mistake the parent's locks for its own.
        """
        if self._connection is not None and forks.was_free(self.lock):
            # Close without a checkpoint, because the fork would wait for the checkpoint.
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self.close()

    def after_fork(self) -> None:
        """Drop a connection in a forked child, because the parent uses it; see `forks.ForkAware`."""
        forks.leave_to_parent(self._connection)
        self._connection, self._checkpoint_at = None, _CHECKPOINT_PAGES

    # -- opening

    def _open(self) -> apsw.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_handler(self._wait_for_lock)
            # This affects only a new file. Pages are small, because a call changes only a small part of two pages.
            connection.execute("PRAGMA page_size = 2048")
            self._enable_wal(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.wal_autocheckpoint(0)
            self._prepare(connection)
            connection.set_wal_hook(self._on_wal_commit)
        except BaseException:
            connection.close()
            raise
        return connection

    def _enable_wal(self, connection: apsw.Connection) -> None:
        """Switch the file to WAL mode.

        SQLite's busy handler does not cover this statement, so wait here for other processes.
        """
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except apsw.BusyError:
                if not self._wait_for_lock(0):
                    raise
            else:
                return

    def _wait_for_lock(self, _: int) -> bool:
        """Sleep for a moment, in which another process may release the lock. Return False after the timeout.

        SQLite's own busy timeout is unfair: under contention, a writer may wait for seconds.
        """
        if time.monotonic() >= self._lock_deadline:
            return False
        time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - the pause need not be secret
        return True

    def _on_wal_commit(self, _: apsw.Connection, name: str, pages: int) -> int:
        # the WAL is short: SQLite has begun to write it from its start again
        if name == "main" and pages < _CHECKPOINT_PAGES:
            self._checkpoint_at = _CHECKPOINT_PAGES
        elif name == "main" and pages >= self._checkpoint_at:
            # A reader may prevent SQLite from moving all pages, so try again after the next thousand pages.
            self._checkpoint_at = pages + _CHECKPOINT_PAGES
            start_thread(threading.Thread(target=self._checkpoint, name="llmcore-ledger", daemon=True))
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        # Delay forks, because a child would inherit SQLite's internal locks in a locked state. Ignore errors,
        # because a later commit tries again.
        with forks.delay(), contextlib.suppress(apsw.Error, OSError):
            connection = apsw.Connection(str(self.path))
            try:
                # A connection detects a WAL only at its first read, so read something before the checkpoint.
                connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self.after_checkpoint(connection)
            finally:
                connection.close()
