"""The ledger's file: SQLite in WAL, one connection a process, its schema and its checkpoints."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from pathlib import Path
from typing import Final

import apsw

from llmcore.builtin.forks import Lock, watch
from llmcore.ledger.schema import prepare

__all__ = ["Database"]

_LONGEST_WAL: Final = 1000
"""Pages. SQLite's own checkpoints would hold up the call in which they fall; ours run in a thread of their own."""

_left_to_parents: list[object] = []
"""Connections that a fork copied. Closing one would end the parent's file as well, so they stay as they are."""


class Database:
    """One ledger file. Whoever uses the connection holds `lock`.

    Args:
        path: Of the file; made with its folder, for this user alone, where it does not exist.
        durable: Whether a commit survives a power cut, at the price of an fsync; a killed process loses nothing either way.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        # The garbage collector may have a call settled in a thread that is at work here already.
        self.lock = threading.RLock()
        self._durable = durable
        self._connection: apsw.Connection | None = None
        self._patience_ends = 0.0
        self._checkpoint_at = _LONGEST_WAL
        watch(self)

    def connection(self, *, patience_s: float) -> apsw.Connection:
        """Return the connection, opened at its first use; it waits for other processes no longer than *patience_s*.

        Raises:
            apsw.Error: The file cannot be opened, or is no ledger.
            OSError: Its folder cannot be made.
        """
        self._patience_ends = time.monotonic() + patience_s
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    def reader(self) -> apsw.Connection:
        """Return a connection of the caller's own, for reading; the caller closes it."""
        with self.lock:
            self.connection(patience_s=10.0)
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(10_000)
        return connection

    def close(self) -> None:
        """Close the connection; a later use opens another."""
        with self.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    # -- over a fork

    def fork_locks(self) -> tuple[Lock, ...]:
        """See `ForkAware`."""
        return (self.lock,)

    def after_fork(self, *, at_rest: bool) -> None:  # noqa: ARG002 - the connection is the parent's in either case
        """See `ForkAware`."""
        self.lock = threading.RLock()
        _left_to_parents.append(self._connection)
        self._connection, self._checkpoint_at = None, _LONGEST_WAL

    # -- opening

    def _opened(self) -> apsw.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_handler(self._wait)
            connection.execute("PRAGMA page_size = 2048")  # of a new file: a call changes little of two pages
            self._turn_to_wal(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            connection.wal_autocheckpoint(0)
            prepare(connection)
            connection.set_wal_hook(self._grown)
        except BaseException:
            connection.close()
            raise
        return connection

    def _turn_to_wal(self, connection: apsw.Connection) -> None:
        """Have the file written by way of a log. SQLite itself does not wait for others who are just doing the same."""
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except apsw.BusyError:
                if not self._wait(0):
                    raise
            else:
                return

    def _wait(self, _: int) -> bool:
        """Wait a moment for another process. SQLite's own waiting is so unfair that it takes seconds in company."""
        if time.monotonic() >= self._patience_ends:
            return False
        time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - no secret
        return True

    def _grown(self, _: apsw.Connection, name: str, pages: int) -> int:
        if name == "main" and pages < _LONGEST_WAL:  # it began anew
            self._checkpoint_at = _LONGEST_WAL
        elif name == "main" and pages >= self._checkpoint_at:
            # Somebody may be reading, so that not all can be moved yet.
            self._checkpoint_at = pages + _LONGEST_WAL
            with contextlib.suppress(RuntimeError):  # no thread to spare
                threading.Thread(target=self._checkpoint, name="llmcore-ledger", daemon=True).start()
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        with contextlib.suppress(apsw.Error):  # a later commit asks for another
            connection = apsw.Connection(str(self.path))
            try:
                # Before its first look a connection knows of no WAL.
                connection.execute("SELECT 1 FROM swept").fetchall()
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            finally:
                connection.close()
