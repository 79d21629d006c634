"""The chunks in a vendor's queue, stored in the file of the run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from llmcore.llm.batch.store import RunStore

__all__ = ["QueueChunk", "QueueStore", "Queued", "has_open_chunks"]

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS chunks (
        id INTEGER PRIMARY KEY,
        model TEXT NOT NULL,         -- provider:model
        state TEXT NOT NULL,         -- intent (perhaps not created), created, done
        batch TEXT,                  -- the vendor's id
        size INTEGER NOT NULL,       -- requests
        tokens INTEGER NOT NULL,
        created REAL NOT NULL,       -- seconds since 1970
        expires REAL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS queued (
        name TEXT PRIMARY KEY,       -- the id of the request in its batch, and of its call in the ledger
        key BLOB NOT NULL UNIQUE,    -- the key in `answers`
        chunk INTEGER NOT NULL,
        position INTEGER NOT NULL,   -- of the item that was sent
        body BLOB                    -- JSON; the item may change while the vendor works
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS queued_chunk ON queued (chunk);
    CREATE TABLE IF NOT EXISTS billed (  -- settled requests of open chunks that the vendor has answered
        name TEXT PRIMARY KEY,
        chunk INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tries (key BLOB PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS items_key ON items (key);
"""
_PAGE: Final = 1000


class QueueChunk(NamedTuple):
    """A part of the run that becomes one batch of the vendor."""

    id: int
    model: str
    """The model as `provider:model`."""
    state: str
    batch: str | None
    size: int
    tokens: int
    created: float
    expires: float | None


class Queued(NamedTuple):
    """A request in a chunk."""

    name: str
    key: bytes
    position: int


class QueueStore:
    """The chunks in the file of a run, and their requests."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        with store.write() as db:
            db.execute(_SCHEMA)
        if store.get("queue") is None:
            store.set(queue=os.urandom(6).hex(), queue_began=str(time.time()))
        self.token = store.get("queue") or ""
        """A random text that distinguishes this run from all other runs on any machine."""
        self.began = float(store.get("queue_began") or 0.0)
        """The time at which the run first used the queue, in seconds since 1970."""

    def make_name(self, chunk: int, number: int) -> str:
        """Return the id of the request at the position *number* of *chunk*."""
        return f"llmcore-{self.token}-{chunk}-{number}"

    def add(self, model: str, requests: list[tuple[bytes, int]], tokens: int) -> QueueChunk:
        """Record the intent to create a batch of *requests*, given as keys and item positions."""
        with self._store.write() as db, db:
            chunk: Any = db.execute("SELECT ifnull(max(id), 0) + 1 FROM chunks").get
            found = QueueChunk(chunk, model, "intent", None, len(requests), tokens, time.time(), None)
            db.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", found)
            db.executemany(
                "INSERT INTO queued VALUES (?, ?, ?, ?, (SELECT body FROM items WHERE position = ?))",
                [
                    (self.make_name(chunk, number), key, chunk, position, position)
                    for number, (key, position) in enumerate(requests)
                ],
            )
        return found

    def make_id(self) -> int:
        """Return the id of the next chunk."""
        with self._store.write() as db:
            found: Any = db.execute("SELECT ifnull(max(id), 0) + 1 FROM chunks").get
        return int(found)

    def mark_created(self, chunk: QueueChunk, batch: str, expires: float | None) -> QueueChunk:
        """Record that the vendor has created *batch* from the requests that the chunk has now."""
        size = len(self.list_requests(chunk))
        self._execute(
            "UPDATE chunks SET state = 'created', batch = ?, expires = ?, size = ? WHERE id = ?",
            batch,
            expires,
            size,
            chunk.id,
        )
        return chunk._replace(state="created", batch=batch, expires=expires, size=size)

    def mark_done(self, chunk: QueueChunk) -> None:
        """Record that all requests of the chunk are settled or returned."""
        with self._store.write() as db, db:
            db.execute("UPDATE chunks SET state = 'done' WHERE id = ?", (chunk.id,))
            db.execute("DELETE FROM billed WHERE chunk = ?", (chunk.id,))

    def list_open(self) -> list[QueueChunk]:
        """Return the chunks that are not done."""
        with self._store.write() as db:
            rows: list[Any] = db.execute("SELECT * FROM chunks WHERE state != 'done' ORDER BY id").fetchall()
        return [QueueChunk(*row) for row in rows]

    def has_batch(self, batch: str) -> bool:
        """Return whether the vendor's batch belongs to a chunk of this run."""
        with self._store.write() as db:
            return bool(db.execute("SELECT EXISTS (SELECT 1 FROM chunks WHERE batch = ?)", (batch,)).get)

    def find(self, name: str) -> Queued | None:
        """Return the request *name*; None if the request is settled or was never sent."""
        with self._store.write() as db:
            rows: list[Any] = db.execute(
                "SELECT name, key, position FROM queued WHERE name = ?", (name,)
            ).fetchall()
        return Queued(*rows[0]) if rows else None

    def list_requests(self, chunk: QueueChunk) -> list[Queued]:
        """Return the unsettled requests of *chunk* in the order of sending."""
        with self._store.write() as db:
            rows: list[Any] = db.execute(
                "SELECT name, key, position FROM queued WHERE chunk = ?", (chunk.id,)
            ).fetchall()
        return sorted((Queued(*row) for row in rows), key=lambda each: int(each.name.rpartition("-")[2]))

    def has_requests(self, chunk: QueueChunk) -> bool:
        """Return whether *chunk* has requests that are not settled."""
        with self._store.write() as db:
            return bool(db.execute("SELECT EXISTS (SELECT 1 FROM queued WHERE chunk = ?)", (chunk.id,)).get)

    def count_billed(self, chunk: QueueChunk) -> int:
        """Return the number of settled requests of *chunk* that the vendor has answered."""
        with self._store.write() as db:
            found: Any = db.execute("SELECT count(*) FROM billed WHERE chunk = ?", (chunk.id,)).get
        return int(found)

    def remove_billed(self, names: Iterable[str]) -> None:
        """Delete settled requests that the vendor has answered, and count them for their chunk."""
        values = [(name,) for name in names]
        with self._store.write() as db, db:
            db.executemany(
                "INSERT OR IGNORE INTO billed SELECT name, chunk FROM queued WHERE name = ?", values
            )
            db.executemany("DELETE FROM queued WHERE name = ?", values)

    def remove(self, names: Iterable[str]) -> None:
        """Delete requests that were not executed."""
        with self._store.write() as db, db:
            db.executemany("DELETE FROM queued WHERE name = ?", [(name,) for name in names])

    def count_try(self, key: bytes) -> int:
        """Count one more batch that did not execute the request *key*. Return the count."""
        self._execute(
            "INSERT INTO tries VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET count = count + 1", key
        )
        with self._store.write() as db:
            found: Any = db.execute("SELECT count FROM tries WHERE key = ?", (key,)).get
        return int(found)

    def iterate_pool(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield the position and the key of each item after position *after* that is neither finished nor queued."""
        while True:
            with self._store.write() as db:
                rows: list[Any] = db.execute(
                    "SELECT position, key FROM items WHERE position > ? AND state = 'pending' AND key IS NOT NULL"
                    " AND NOT EXISTS (SELECT 1 FROM queued WHERE queued.key = items.key) ORDER BY position LIMIT ?",
                    (after, _PAGE),
                ).fetchall()
            if not rows:
                return
            yield from rows
            after = rows[-1][0]

    def list_items(self, key: bytes) -> list[tuple[int, str | None]]:
        """Return the position and the id of each pending item that waits for the request *key*."""
        with self._store.write() as db:
            rows: list[Any] = db.execute(
                "SELECT position, id FROM items WHERE key = ? AND state = 'pending' ORDER BY position", (key,)
            ).fetchall()
        return rows

    def get_body(self, key: bytes) -> bytes | None:
        """Return the body of the request *key* as JSON."""
        with self._store.write() as db:
            body: Any = db.execute(
                "SELECT body FROM queued WHERE key = ?1 UNION ALL SELECT body FROM items WHERE key = ?1 AND body IS NOT NULL LIMIT 1",
                (key,),
            ).get
        return None if body is None else bytes(body)

    def _execute(self, statement: str, *values: Any) -> None:
        with self._store.write() as db:
            db.execute(statement, values)


def has_open_chunks(store: RunStore) -> bool:
    """Return whether the run has requests in a vendor's queue."""
    if store.get("queue") is None:
        return False
    return bool(QueueStore(store).list_open())
