"""The file of the log: SQLite with a full-text index, readable only by this user."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import apsw

from llmcore import forks

__all__ = ["LogFile", "has_word"]

_COLUMNS: Final = (
    "id", "time", "call", "provider", "model", "user", "tags", "cached", "stream", "error", "finish_reason",
    "input_tokens", "output_tokens", "cost", "latency_s", "request_id", "system", "prompt", "answer", "messages",
    "tool_calls",
)  # fmt: skip
"""The columns of an entry.

`prompt` is the last message of the user; `messages` contains all messages as JSON.
"""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, call TEXT, provider TEXT, model TEXT, user TEXT, tags TEXT,
    cached INTEGER, stream INTEGER, error TEXT, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER, cost TEXT,
    latency_s REAL, request_id TEXT, system TEXT, prompt TEXT NOT NULL, answer TEXT NOT NULL, messages TEXT, tool_calls TEXT
);
CREATE INDEX IF NOT EXISTS by_time ON entries (time);
"""
_INDEX: Final = """
CREATE VIRTUAL TABLE IF NOT EXISTS search
    USING fts5(prompt, answer, content='entries', content_rowid='id', tokenize='trigram');
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON entries BEGIN
    INSERT INTO search (rowid, prompt, answer) VALUES (new.id, new.prompt, new.answer);
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON entries BEGIN
    INSERT INTO search (search, rowid, prompt, answer) VALUES ('delete', old.id, old.prompt, old.answer);
END;
"""
"""The full-text index.

The index contains all sequences of three characters, so a search finds parts of words in every language.
"""
_SHORTEST: Final = 3
"""The minimum length of a word that the index can find. Shorter words are compared with each entry."""
_BUSY_MS: Final = 5000


class LogFile:
    """One log.

    Threads and processes may share it; every method raises `apsw.Error` or `OSError` if the file fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = forks.lock()
        self._connection: apsw.Connection | None = None
        forks.close_before(self)
        forks.watch(self)

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry; the entry is in the file when the method returns."""
        names = ", ".join(entry)
        marks = ", ".join(f":{name}" for name in entry)
        with self._lock:
            self._connect().execute(f"INSERT INTO entries ({names}) VALUES ({marks})", entry)  # noqa: S608 - only names of columns are inserted

    def prune(self, keep_s: float) -> int:
        """Delete the entries that are older than *keep_s* seconds, and return their number."""
        with self._lock:
            connection = self._connect()
            connection.execute("DELETE FROM entries WHERE time < ?", (time.time() - keep_s,))
            return connection.changes()

    def delete(self, number: int) -> bool:
        """Delete the entry with the id *number*; return whether it existed."""
        with self._lock:
            connection = self._connect()
            connection.execute("DELETE FROM entries WHERE id = ?", (number,))
            return connection.changes() > 0

    def find(
        self, words: Sequence[str] = (), *, model: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the newest *limit* entries that contain all of *words*, newest first. Case is ignored.

        Args:
            words: Texts to search for, such as parts of words. Each must occur in the prompt or the answer.
            model: The model, or `provider:model`.
            limit: The maximum number of entries. If None, all entries are returned.
        """
        where, values = ["1"], []
        with self._lock:
            connection = self._connect()
            indexed = (
                [word for word in words if len(word) >= _SHORTEST] if self._has_index(connection) else []
            )
            if indexed:
                where.append("id IN (SELECT rowid FROM search WHERE search MATCH ?)")
                values.append(" AND ".join('"' + word.replace('"', '""') + '"' for word in indexed))
            for word in words:
                if word not in indexed:
                    where.append("has_word(prompt, answer, ?)")
                    values.append(word)
            if model is not None:
                where.append("(model = ? OR provider || ':' || model = ?)")
                values += [model, model]
            text = f"SELECT {', '.join(_COLUMNS)} FROM entries WHERE {' AND '.join(where)} ORDER BY id DESC"  # noqa: S608 - only constant conditions and names of columns are inserted
            if limit is not None:
                text += f" LIMIT {int(limit)}"
            rows = connection.execute(text, values).fetchall()
        return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]

    def get(self, number: int) -> dict[str, Any] | None:
        """Return the entry with the id *number*; None if there is no such entry."""
        with self._lock:
            text = f"SELECT {', '.join(_COLUMNS)} FROM entries WHERE id = ?"  # noqa: S608 - only names of columns are inserted
            row = self._connect().execute(text, (number,)).fetchone()
        return None if row is None else dict(zip(_COLUMNS, row, strict=True))

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def before_fork(self) -> None:
        """Close the file, because SQLite manages its locks per process."""
        if self._connection is not None and forks.was_free(self._lock):
            self.close()

    def after_fork(self) -> None:
        """Drop a connection in a forked child, because the parent uses it; see `forks.ForkAware`."""
        forks.leave_to_parent(self._connection)
        self._connection = None

    def _connect(self) -> apsw.Connection:
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = apsw.Connection(str(self.path))
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.set_busy_timeout(_BUSY_MS)
        deadline = time.monotonic() + _BUSY_MS / 1000
        while True:  # retry: SQLite's busy timeout does not apply to a change of the journal mode
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                break
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.create_scalar_function("has_word", has_word, 3, deterministic=True)
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_SCHEMA)
            with contextlib.suppress(apsw.SQLError):  # without FTS5, `find` compares every entry
                connection.execute(_INDEX)
        finally:
            connection.execute("COMMIT")

    def _has_index(self, connection: apsw.Connection) -> bool:
        text = "SELECT 1 FROM sqlite_schema WHERE name = 'removed' AND type = 'trigger'"
        return connection.execute(text).fetchone() is not None


def has_word(*texts: Any) -> bool:
    """Return whether the last of *texts* occurs in any of the other texts. Case is ignored."""
    word = str(texts[-1]).casefold()
    return any(word in str(text).casefold() for text in texts[:-1])
