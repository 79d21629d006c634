"""The file of a run. The file stores the requests, the answers, and the unsent items."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import apsw
import msgspec

from llmcore.errors import LLMCoreError
from llmcore.support.errors import raise_unchained
from llmcore.types import Reply

__all__ = ["Answer", "Counts", "RunStore", "Stored", "list_runs", "make_created", "share"]

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS items (
        position INTEGER PRIMARY KEY,
        id TEXT,
        key BLOB,                    -- the key in `answers`; NULL for a malformed item
        state TEXT NOT NULL,         -- pending, done or failed
        body BLOB,                   -- JSON
        error TEXT                   -- JSON: code, message
    ) STRICT;
    CREATE TABLE IF NOT EXISTS answers (  -- in the order of their arrival, so that a run appends to its file
        key BLOB NOT NULL,
        reply BLOB NOT NULL,         -- msgpack
        cost INTEGER,                -- nano-dollars; NULL if unknown
        position INTEGER NOT NULL    -- of the item that was sent; other items with this key are free copies
    ) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS answers_key ON answers (key);
"""
_CHECKPOINT_PAGES: Final = 8000
"""The size of the write-ahead log, in pages, at which SQLite copies the log into the file.

The size is large, because the pages of the index change often and should be copied rarely.
"""
_PAGE: Final = 200
"""The number of items to read at once, with their answers."""
_SPAN: Final = 5000
"""The number of positions to search for unanswered items at once."""
_ALL: Final = (
    "SELECT position, id, body, error FROM items WHERE position >= ? AND position < ? ORDER BY position"
)
_UNANSWERED: Final = """
    SELECT position, id, body, error FROM items
    WHERE position >= ? AND position < ? AND body IS NOT NULL
        AND (state != 'done' OR NOT EXISTS (SELECT 1 FROM answers AS a WHERE a.key = items.key))
    ORDER BY position
"""
_NOTHING: Final = Decimal(0)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Reply).decode
_encode_json: Final = msgspec.json.encode


Answer: TypeAlias = tuple[bytes, Reply[Any], int | None, int]
"""The key of a request, its answer, its cost in nano-dollars (None if unknown), and the position of its item."""


class Stored(NamedTuple):
    """An item as the file stores it, without its body."""

    position: int
    id: str | None
    key: bytes | None
    state: str
    """`pending`, `done` or `failed`."""
    is_malformed: bool
    """True if the item cannot be sent."""
    error: dict[str, Any] | None
    data: bytes | None
    """The encoded answer."""
    paid: int | None
    """The position of the item whose request was sent and paid for."""

    @property
    def reply(self) -> Reply[Any] | None:
        """The answer to the item. The cost of the answer is 0 if an equal item was sent instead."""
        return None if self.data is None else _read_reply(self.data, is_paid=self.paid == self.position)


class Counts(NamedTuple):
    """The progress of a run."""

    items: int = 0
    done: int = 0
    failed: int = 0
    pending: int = 0
    answers: int = 0
    """The number of different requests that were answered. Duplicate items share one request."""
    queued: int = 0
    """The number of requests that are in a vendor's queue."""
    cost: int = 0
    """The sum of the known costs in nano-dollars."""


class RunStore:
    """The file of one run. Only one process at a time may write to it.

    Raises:
        LLMCoreError: Another process has the run open, or the file cannot be read or written. Every method can
            raise this error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._write():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = -1
        if self._lock < 0:
            raise LLMCoreError(
                f"the run {path.stem} is in use by another process",
                code="LC320",
                where=str(path),
                expected="one process for each run",
                fix=f"llmcore batch status {path.stem}",
            )
        try:
            with self._write():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                self._db = apsw.Connection(str(path))
                self._db.set_busy_timeout(10_000)
                self._db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
                self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                self._db.execute(_SCHEMA)
        except LLMCoreError:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the file, so that another process can open the run."""
        if self._lock >= 0:
            self._db.close()
            os.close(self._lock)
            self._lock = -1

    def clear(self) -> None:
        """Delete everything in the file, to begin the run again."""
        with self._write(), self._db:
            for (name,) in list(self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")):
                self._db.execute(f"DROP TABLE {name}")
            self._db.execute(_SCHEMA)

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """Yield the connection. If SQLite fails inside the block, raise `LLMCoreError`."""
        with self._write():
            yield self._db

    @contextmanager
    def _write(self) -> Iterator[None]:
        try:
            yield
        except (apsw.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise_unchained(
                LLMCoreError(
                    f"the run {self.path.stem} cannot be written: {reason}",
                    code="LC324",
                    where=str(self.path),
                    expected="a disk with space, and a file that you can write",
                )
            )

    # -- facts of the run

    def get(self, name: str) -> str | None:
        """Return the value of the fact *name*, such as `lane` or `created`; None if it is not stored."""
        value: Any = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
        return None if value is None else str(value)

    def set(self, **facts: str) -> None:
        """Store facts of the run."""
        with self._write():
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(facts.items()))

    # -- items

    def add(self, items: Iterable[tuple[int, str | None, bytes | None, dict[str, Any] | None]]) -> None:
        """Store items as pending. An item replaces the stored item at the same position."""
        rows = [
            (position, name, key, None if body is None else _encode_json(body))
            for position, name, key, body in items
        ]
        with self._write(), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO items (position, id, key, state, body) VALUES (?, ?, ?, 'pending', ?)",
                rows,
            )

    def find(self, position: int) -> Stored | None:
        """Return the item at *position*."""
        return next(iter(self.read_items(position, 1)), None)

    def read_items(self, first: int, number: int = _PAGE) -> list[Stored]:
        """Return the items at *number* positions from *first*, with their answers."""
        rows = _read_rows(
            self._db,
            "SELECT i.position, i.id, i.key, i.state, i.body IS NULL, i.error, a.reply, a.position"
            " FROM items AS i LEFT JOIN answers AS a ON a.key = i.key AND i.state = 'done'"
            " WHERE i.position >= ? AND i.position < ? ORDER BY i.position",
            (first, first + number),
        )
        return [
            Stored(
                position,
                name,
                key,
                state,
                bool(is_malformed),
                None if error is None else msgspec.json.decode(error),
                data,
                paid,
            )
            for position, name, key, state, is_malformed, error, data, paid in rows
        ]

    def iterate_items(self) -> Iterator[Stored]:
        """Yield all items in their order."""
        for first in range(0, self.find_end(), _PAGE):
            yield from self.read_items(first)

    def iterate_bodies(
        self, first: int = 0, *, everything: bool
    ) -> Iterator[tuple[int, str | None, dict[str, Any] | None, dict[str, Any] | None]]:
        """Yield position, id, body and error of the items from *first*.

        Unless *everything* is true, leave out malformed and answered items.
        """
        span = _PAGE if everything else _SPAN
        for start in range(first, self.find_end(), span):
            rows = _read_rows(self._db, _ALL if everything else _UNANSWERED, (start, start + span))
            for position, name, body, error in rows:
                yield (
                    position,
                    name,
                    None if body is None else msgspec.json.decode(body),
                    None if error is None else msgspec.json.decode(error),
                )

    def find_end(self) -> int:
        """Return the position after the last item."""
        end: Any = self._db.execute("SELECT ifnull(max(position) + 1, 0) FROM items").get
        return int(end)

    def finish(
        self,
        answers: Iterable[Answer],
        done: Iterable[int],
        failed: Iterable[tuple[int, LLMCoreError]],
    ) -> None:
        """Store answers and the states of their items in one transaction."""
        with self._write(), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO answers (key, reply, cost, position) VALUES (?, ?, ?, ?)",
                [(key, _encode(reply), cost, position) for key, reply, cost, position in answers],
            )
            self._db.executemany(
                "UPDATE items SET state = 'done', error = NULL WHERE position = ?", [(each,) for each in done]
            )
            self._db.executemany(
                "UPDATE items SET state = 'failed', error = ? WHERE position = ?",
                [(_encode_json(_describe(error)).decode(), position) for position, error in failed],
            )

    def find_answer(self, key: bytes, position: int) -> Reply[Any] | None:
        """Return the answer to the request *key* for the item at *position*.

        The cost of the answer is 0 if an equal item was sent instead.
        """
        rows: list[Any] = _read_rows(self._db, "SELECT reply, position FROM answers WHERE key = ?", (key,))
        if not rows:
            return None
        data, paid = rows[0]
        return _read_reply(data, is_paid=paid == position)

    def has_answer(self, key: bytes) -> bool:
        """Return whether the request *key* was answered."""
        return bool(self._db.execute("SELECT EXISTS (SELECT 1 FROM answers WHERE key = ?)", (key,)).get)

    def count(self) -> Counts:
        """Return the progress of the run."""
        return _count(self._db)

    def sum_cost(self) -> int:
        """Return the sum of the known costs in nano-dollars."""
        total: Any = self._db.execute("SELECT ifnull(sum(cost), 0) FROM answers").get
        return int(total)


def share(reply: Reply[Any]) -> Reply[Any]:
    """Return a copy of *reply* for an equal item that was not sent. The copy costs nothing."""
    if reply.cached:
        return reply
    return msgspec.structs.replace(reply, cached=True, cost=_NOTHING, saved=reply.cost)


def list_runs(folder: Path) -> list[tuple[str, dict[str, str], Counts]]:
    """Return the id, the facts and the counts of each run in *folder*, the newest first.

    The list includes runs that another process has open.
    """
    runs = []
    for path in folder.glob("*.sqlite3"):
        try:
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            db.set_busy_timeout(10_000)
            facts: dict[Any, Any] = dict(_read_rows(db, "SELECT name, value FROM meta"))
            runs.append((path.stem, facts, _count(db)))
            db.close()
        except apsw.Error:  # not a run, or a run that is just being created
            continue
    return sorted(runs, key=lambda run: run[1].get("created", ""), reverse=True)


def make_created() -> str:
    """Return the current time as a text, for the fact `created`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _count(db: apsw.Connection) -> Counts:
    states: dict[Any, Any] = dict(_read_rows(db, "SELECT state, count(*) FROM items GROUP BY state"))
    answers, cost = _read_rows(db, "SELECT count(*), ifnull(sum(cost), 0) FROM answers")[0]
    return Counts(
        sum(states.values()),
        states.get("done", 0),
        states.get("failed", 0),
        states.get("pending", 0),
        answers,
        _count_queued(db),
        cost,
    )


def _count_queued(db: apsw.Connection) -> int:
    known: Any = db.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'queued')").get
    queued: Any = db.execute("SELECT count(*) FROM queued").get if known else 0
    return int(queued)


def _read_reply(data: bytes, *, is_paid: bool) -> Reply[Any]:
    return _decode(data) if is_paid else share(_decode(data))


def _describe(error: LLMCoreError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "where": error.where, "class": type(error).__name__}


def _read_rows(db: apsw.Connection, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
    return db.execute(statement, values).fetchall()
