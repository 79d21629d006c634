"""The items of batches that several processes of this machine work on; see `LedgerRuns`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from llmcore.builtin.sqlite_ledger.database import Database
from llmcore.builtin.sqlite_ledger.errors import translate_errors
from llmcore.builtin.sqlite_ledger.owners import Owners
from llmcore.builtin.sqlite_ledger.writer import Writer
from llmcore.support import forks
from llmcore.support.ledger_runs import BUSY, MINE, ItemState

if TYPE_CHECKING:
    import apsw

__all__ = ["Runs"]

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS run (open INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS items (
        key BLOB PRIMARY KEY,
        claim TEXT NOT NULL,
        owner TEXT NOT NULL,                 -- the process that has claimed the item
        answer BLOB                          -- NULL while the item is claimed
    ) STRICT;
    CREATE INDEX IF NOT EXISTS claims ON items (claim) WHERE answer IS NULL;
"""


class Runs:
    """The ability `LedgerRuns` of the ledger `sqlite`. Each run has a file in a folder next to the ledger."""

    def __init__(self, ledger: Path, owners: Owners) -> None:
        self._runs_folder = ledger.with_name(f"{ledger.name}.runs")
        self._run_owners = owners
        self._writers: dict[str, tuple[Database, Writer]] = {}
        self._claims: set[str] = set()
        """The claims of this process that may still have items."""
        self._runs_lock = forks.lock()

    def open_run(self, run: str, timeout_s: float) -> None:
        """See `LedgerRuns.open_run`."""
        self._find_writer(run).run(_open, timeout_s)

    def claim_items(
        self, run: str, claim: str, keys: Sequence[bytes], timeout_s: float
    ) -> Sequence[ItemState] | None:
        """See `LedgerRuns.claim_items`."""
        with translate_errors():
            if not self._get_path(run).is_file():
                return None
            owner = self._run_owners.get_own_name()
        self._claims.add(claim)
        states: Sequence[ItemState] | None = self._find_writer(run).run(
            lambda db: _claim(db, claim, owner, keys, self._run_owners.is_dead), timeout_s
        )
        return states

    def finish_items(
        self, run: str, claim: str, answers: Sequence[tuple[bytes, bytes]], timeout_s: float
    ) -> None:
        """See `LedgerRuns.finish_items`."""
        rows = [(key, claim, answer) for key, answer in answers]
        self._change(run, lambda db: db.executemany(_FINISH, rows), timeout_s)

    def release_items(self, run: str, claim: str, timeout_s: float) -> None:
        """See `LedgerRuns.release_items`."""
        self._change(run, lambda db: db.execute(_RELEASE, (claim,)), timeout_s)
        self._claims.discard(claim)

    def close_run(self, run: str, timeout_s: float) -> None:
        """See `LedgerRuns.close_run`."""
        self._change(run, lambda db: db.execute("DELETE FROM run"), timeout_s)

    def forget_run(self, run: str, timeout_s: float) -> None:
        """See `LedgerRuns.forget_run`. A process that has the deleted file open sees that the run is closed."""
        self.close_run(run, timeout_s)
        path = self._get_path(run)
        with self._runs_lock:
            found = self._writers.pop(run, None)
        with translate_errors():
            if found is not None:
                found[0].close()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the folder is not empty while other runs have files
                path.parent.rmdir()

    @property
    def has_claims(self) -> bool:
        """True if a claim of this process may still have items."""
        return bool(self._claims)

    def close_runs(self) -> None:
        """Close the files. A later use opens them again."""
        with self._runs_lock:
            writers, self._writers = self._writers, {}
        for database, _ in writers.values():
            database.close()

    def _change(self, run: str, work: Callable[[apsw.Connection], Any], timeout_s: float) -> None:
        """Run *work*, unless the file of the run was deleted."""

        def change(db: apsw.Connection) -> None:
            work(db)

        with translate_errors():
            exists = self._get_path(run).is_file()
        if exists:
            self._find_writer(run).run(change, timeout_s)

    def _find_writer(self, run: str) -> Writer:
        with self._runs_lock:
            found = self._writers.get(run)
            if found is None:
                database = Database(self._get_path(run), prepare=_prepare)
                found = self._writers[run] = (database, Writer(database))
            return found[1]

    def _get_path(self, run: str) -> Path:
        return self._runs_folder / f"{quote(run, safe='')}.sqlite3"


_FINISH: Final = """
    INSERT INTO items (key, claim, owner, answer) VALUES (?, ?, '', ?)
    ON CONFLICT (key) DO UPDATE SET claim = excluded.claim, answer = excluded.answer WHERE answer IS NULL
"""
_RELEASE: Final = "DELETE FROM items WHERE claim = ? AND answer IS NULL"


def _prepare(db: apsw.Connection) -> None:
    db.execute(_SCHEMA)


def _open(db: apsw.Connection) -> None:
    if not db.execute("SELECT EXISTS (SELECT 1 FROM run)").get:
        db.execute("INSERT INTO run VALUES (1)")


def _claim(
    db: apsw.Connection, claim: str, owner: str, keys: Sequence[bytes], is_dead: Callable[[str], bool]
) -> Sequence[ItemState] | None:
    if not db.execute("SELECT EXISTS (SELECT 1 FROM run)").get:
        return None
    dead: dict[str, bool] = {}
    states = []
    for key in keys:
        row: Any = db.execute("SELECT claim, owner, answer FROM items WHERE key = ?", (key,)).fetchone()
        if row is not None and row[2] is not None:
            states.append(ItemState("done", row[2]))
            continue
        if row is not None and row[0] != claim:
            if row[1] not in dead:
                dead[row[1]] = is_dead(row[1])
            if not dead[row[1]]:
                states.append(BUSY)
                continue
        if row is None or row[0] != claim:
            db.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, NULL)", (key, claim, owner))
        states.append(MINE)
    return states
