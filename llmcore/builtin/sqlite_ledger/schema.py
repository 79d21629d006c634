"""The tables of the ledger, and the migration of older files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import apsw

__all__ = ["MIGRATIONS", "NewerLedger", "migrate"]


class NewerLedger(Exception):
    """The error for a file that a later version of llmcore has written."""


MIGRATIONS: Final = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,              -- microseconds since 1970 or a little more: increasing, and so an index of `at`
        at REAL NOT NULL,                    -- seconds since 1970 UTC
        call TEXT NOT NULL,                  -- shared by the attempts and fallbacks of one call
        attempt INTEGER NOT NULL,
        state TEXT NOT NULL,                 -- open, done, failed, lost (its process died), hit (answered by the cache)
        count INTEGER NOT NULL DEFAULT 1,    -- more than 1 for hits, which are written in bulk
        kind TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,                 -- the requested model
        served TEXT,                         -- the model that answered, as the backend names it
        reserved INTEGER NOT NULL DEFAULT 0, -- nano-dollars, as cost and saved
        cost INTEGER,                        -- NULL if unknown
        uncertain INTEGER NOT NULL DEFAULT 0,-- 1 if the outcome is unknown: booked at its maximum cost
        estimated INTEGER NOT NULL DEFAULT 0,-- 1 if the backend sent no usage and the tokens were counted locally
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
        owner TEXT                           -- the process that has the row open
    ) STRICT;
    CREATE TABLE budgets (                   -- each the sum of the rows that it covers
        period TEXT NOT NULL,                -- 2026-11-25, 2026-11 or total
        scope TEXT NOT NULL,                 -- a JSON list: per, model, tag, user, unit
        spent INTEGER NOT NULL,
        reserved INTEGER NOT NULL,
        alerted INTEGER NOT NULL DEFAULT 0,  -- the highest amount for which an alert was sent: limits may change
        PRIMARY KEY (period, scope)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE absorbed (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;    -- files of hits that are already in `calls`
    CREATE TABLE swept (id INTEGER) STRICT;  -- all rows before this one are closed; an index of open rows would cost each call a page
    INSERT INTO swept VALUES (0);
    """,
    """
    ALTER TABLE calls ADD COLUMN cost_source TEXT;  -- server (the billed amount), config ([prices]), provider (its price table)
    """,
    """
    ALTER TABLE calls ADD COLUMN first_token_ms REAL;  -- until the first content of a stream; NULL if it was not streamed
    """,
    """
    CREATE TABLE keys (                      -- API keys of a gateway's clients
        name TEXT PRIMARY KEY,               -- the user of its calls
        id TEXT NOT NULL UNIQUE,             -- the part of the key in clear text
        digest BLOB NOT NULL,                -- SHA-256 of the key
        budget INTEGER,                      -- nano-dollars
        per TEXT NOT NULL,                   -- day, month or total
        models TEXT NOT NULL,                -- a JSON list; empty for all
        requests_per_minute INTEGER,
        created_at REAL NOT NULL,            -- seconds since 1970 UTC, as the next ones
        expires_at REAL,
        revoked_at REAL,
        full_at REAL                         -- when the token bucket of requests is full again
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE INDEX pruned ON calls (at, call) WHERE attempt = -1;  -- sums of pruned rows; other rows cost it nothing
    """,
)
"""The statements of each migration.

`user_version` of a file is the number of migrations that were applied to it. Only append migrations; never change an
existing one.
"""


def migrate(connection: apsw.Connection) -> None:
    """Migrate the file to the current version.

    Raises:
        NewerLedger: The file has a later version; it was not changed.
    """
    if _read_version(connection) == len(MIGRATIONS):
        return
    with connection:  # all migrations in one savepoint, because another process may migrate at the same time
        connection.execute("CREATE TABLE IF NOT EXISTS migrating (x)")  # this statement takes the write lock
        version = _read_version(connection)
        if version > len(MIGRATIONS):
            raise NewerLedger(
                f"the ledger has version {version}, but this llmcore supports up to {len(MIGRATIONS)}"
            )
        for statements in MIGRATIONS[version:]:
            connection.execute(statements)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("DROP TABLE migrating")


def _read_version(connection: apsw.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").get
    return version
