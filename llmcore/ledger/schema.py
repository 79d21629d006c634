"""The ledger's tables, and how an older file becomes a newer one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import apsw

__all__ = ["MIGRATIONS", "NewerLedger", "prepare"]


class NewerLedger(Exception):
    """The file was written by a later version of llmcore."""


MIGRATIONS: Final = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,              -- microseconds since 1970 or a little more: it rises, and serves as the index of `at`
        at REAL NOT NULL,                    -- seconds since 1970 UTC
        call TEXT NOT NULL,                  -- the attempts and fallbacks of one call share it
        attempt INTEGER NOT NULL,
        state TEXT NOT NULL,                 -- open, done, failed, lost (its process died), hit (answered by the cache)
        count INTEGER NOT NULL DEFAULT 1,    -- hits are booked in bulk
        kind TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,                 -- as it was asked for
        served TEXT,                         -- the model that answered, by the backend's own name
        reserved INTEGER NOT NULL DEFAULT 0, -- nano-dollars, as cost and saved
        cost INTEGER,                        -- NULL where nobody knows
        uncertain INTEGER NOT NULL DEFAULT 0,-- 1 where the backend did not tell what it did: booked at the most it can be
        estimated INTEGER NOT NULL DEFAULT 0,-- 1 where the backend sent no count and a local one stands in
        saved INTEGER,
        input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        cached_tokens INTEGER NOT NULL DEFAULT 0,
        cache_write_tokens INTEGER NOT NULL DEFAULT 0,
        cache_write_12h_tokens INTEGER NOT NULL DEFAULT 0,
        reasoning_tokens INTEGER NOT NULL DEFAULT 0,
        audio_input_tokens INTEGER NOT NULL DEFAULT 0,
        audio_output_tokens INTEGER NOT NULL DEFAULT 0,
        image_input_tokens INTEGER NOT NULL DEFAULT 0,
        image_output_tokens INTEGER NOT NULL DEFAULT 0,
        characters INTEGER NOT NULL DEFAULT 0,
        latency_ms REAL,
        tier_asked TEXT,
        tier TEXT,
        request_id TEXT,
        error TEXT,
        user TEXT,
        tags TEXT,                           -- a JSON list
        owner TEXT                           -- the process, while the row is open
    ) STRICT;
    CREATE TABLE budgets (                   -- each the sum of the rows that it covers
        period TEXT NOT NULL,                -- 2026-11-25, 2026-11 or total
        scope TEXT NOT NULL,                 -- a JSON list: per, model, tag, user, unit
        spent INTEGER NOT NULL,
        reserved INTEGER NOT NULL,
        alerted INTEGER NOT NULL DEFAULT 0,  -- the highest amount that was told: limits may change
        PRIMARY KEY (period, scope)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE absorbed (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;    -- files of hits that are in `calls`
    CREATE TABLE swept (id INTEGER) STRICT;  -- no row before this one is open: an index of open rows would cost each call a page
    INSERT INTO swept VALUES (0);
    """,
)
"""Statements by version: the file's `user_version` says how many it has had. Never change one, only add."""


def prepare(connection: apsw.Connection) -> None:
    """Bring the file to this version.

    Raises:
        NewerLedger: It is of a later one; nothing was changed.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    with connection:  # a savepoint; another process may be at it too
        connection.execute("CREATE TABLE IF NOT EXISTS migrating (x)")  # takes the write lock
        version = _version(connection)
        if version > len(MIGRATIONS):
            raise NewerLedger(f"version {version} of the ledger, and this llmcore knows {len(MIGRATIONS)}")
        for statements in MIGRATIONS[version:]:
            connection.execute(statements)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("DROP TABLE migrating")


def _version(connection: apsw.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").get
    return version
