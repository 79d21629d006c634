"""The ledger `sqlite`. All processes of a machine share one file.

A single caller commits at once; concurrent callers share a commit (group commit).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from llmcore.builtin.sqlite_ledger import counters, keys, pruning, reports, row_pages, rows
from llmcore.builtin.sqlite_ledger.database import Database
from llmcore.builtin.sqlite_ledger.errors import translate_errors
from llmcore.builtin.sqlite_ledger.owners import Owners
from llmcore.builtin.sqlite_ledger.runs import Runs
from llmcore.builtin.sqlite_ledger.writer import Writer
from llmcore.support import forks
from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow, RowQuery
from llmcore.support.ledger_values import (
    ApiKey,
    Counter,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)

if TYPE_CHECKING:
    import apsw

    from llmcore.builtin.options import SqliteOptions

__all__ = ["SqliteLedger"]

T = TypeVar("T")

_STORE_EVERY_S: Final = 600.0
"""After a search for finished days without stored sums, a process waits this many seconds before it searches again."""
_MOST_STORED: Final = 3
"""The maximum number of days that one checkpoint stores. A day of 10,000 requests takes about 30 ms of CPU."""


class SqliteLedger(Runs):
    """Rows, counters and keys in one file; see `llmcore.contracts.LedgerProvider`."""

    def __init__(self, options: SqliteOptions) -> None:
        self.database = Database(Path(options.path or "ledger.sqlite3"), durable=options.durability == "full")
        self.location = str(self.database.path)
        self.database.after_checkpoint = self._store_days
        self._store_at = 0.0
        """The time at which sums of days are stored next, on the clock of `time.monotonic`."""
        self.writer = Writer(self.database)
        self._owners = Owners(self.database.path)
        Runs.__init__(self, self.database.path, self._owners)
        self._open: set[str] = set()
        """The keys of the open rows of this process."""
        forks.watch(self)

    # -- requests

    def prepare(self, timeout_s: float) -> bool:
        """See `LedgerProvider.prepare`."""
        has_budgets: bool = self.writer.run(self._prepare, timeout_s)
        return has_budgets

    def aprepare(self, timeout_s: float) -> Awaitable[bool]:
        """See `LedgerProvider.prepare`."""
        return self.writer.run_async(self._prepare, timeout_s)

    def _prepare(self, db: apsw.Connection) -> bool:
        rows.recover(db, self._owners.is_dead)
        return bool(db.execute("SELECT EXISTS (SELECT 1 FROM budgets)").get)

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """See `LedgerProvider.reserve`."""
        answer: Reserved | Refusal = self.writer.run(self._make_reserve_work(request), timeout_s)
        return answer

    def areserve(self, request: ReserveRequest, timeout_s: float) -> Awaitable[Reserved | Refusal]:
        """See `LedgerProvider.reserve`."""
        return self.writer.run_async(self._make_reserve_work(request), timeout_s)

    def _make_reserve_work(self, request: ReserveRequest) -> Callable[[apsw.Connection], Reserved | Refusal]:
        with translate_errors():
            owner = self._owners.get_own_name()

        def open_row(db: apsw.Connection) -> Reserved | Refusal:
            answer = rows.open_row(db, request, owner)
            if type(answer) is Reserved and request.charge.owner is None:
                self._open.add(request.key)
            return answer

        return open_row

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.settle`."""
        updated: Sequence[Counter] | None = self.writer.run(self._make_settle_work(settlements), timeout_s)
        return updated or ()

    def asettle(self, settlements: Sequence[Settlement], timeout_s: float) -> Awaitable[Sequence[Counter]]:
        """See `LedgerProvider.settle`."""
        return self.writer.run_async(self._make_settle_work(settlements), timeout_s)

    def _make_settle_work(
        self, settlements: Sequence[Settlement]
    ) -> Callable[[apsw.Connection], Sequence[Counter]]:
        owner = self._owners.name

        def close_rows(db: apsw.Connection) -> Sequence[Counter]:
            self._open.difference_update(settlement.request.key for settlement in settlements)
            return rows.close_rows(db, settlements, owner)

        return close_rows

    def recover(self, timeout_s: float) -> int:
        """See `LedgerProvider.recover`."""
        closed: int = self.writer.run(partial(rows.recover, is_dead=self._owners.is_dead), timeout_s)
        return closed

    def arecover(self, timeout_s: float) -> Awaitable[int]:
        """See `LedgerProvider.recover`."""
        return self.writer.run_async(partial(rows.recover, is_dead=self._owners.is_dead), timeout_s)

    def record(self, batch: str, rows_: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        """See `LedgerProvider.record`."""
        self.writer.run(partial(rows.record, batch=batch, rows=rows_, forget=forget), timeout_s)

    def arecord(
        self, batch: str, rows_: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float
    ) -> Awaitable[None]:
        """See `LedgerProvider.record`."""
        return self.writer.run_async(partial(rows.record, batch=batch, rows=rows_, forget=forget), timeout_s)

    # -- budgets

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.read_budgets`."""
        read = partial(counters.read_budgets, scopes=scopes, at=at)
        return self._read(read, timeout_s, counters.make_empty(scopes, at))

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        """See `LedgerProvider.claim_alert`."""
        claim = partial(counters.claim_alert, counter=counter, amount=amount)
        return bool(self.writer.run(claim, timeout_s))

    def aclaim_alert(self, counter: Counter, amount: int, timeout_s: float) -> Awaitable[bool]:
        """See `LedgerProvider.claim_alert`."""
        claim = partial(counters.claim_alert, counter=counter, amount=amount)
        return self.writer.run_async(claim, timeout_s)

    def claim(self, name: str, timeout_s: float) -> bool:
        """See `LedgerClaims.claim`."""
        return bool(self.writer.run(partial(counters.claim, name=name), timeout_s))

    def add_counted(self, batch: str, counter: Counter, timeout_s: float) -> bool:
        """See `LedgerImport.add_counted`."""
        return bool(self.writer.run(partial(counters.add_counted, batch=batch, counter=counter), timeout_s))

    # -- reports

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        """See `LedgerProvider.aggregate`."""
        return self._read(partial(reports.aggregate, query=query, path=self._sums_path), timeout_s, [])

    @property
    def _sums_path(self) -> Path:
        return self.database.path.with_name(f"{self.database.path.name}.sums")

    def _store_days(self, db: apsw.Connection) -> None:
        """Store the sums of finished days, so that the first report of months finds them."""
        now = time.monotonic()
        if now < self._store_at:
            return
        self._store_at = now + _STORE_EVERY_S
        db.execute("BEGIN")  # a read transaction, so that all sums are of the same state of the ledger
        if reports.make_kept(db, self._sums_path).store_days(_MOST_STORED):
            self._store_at = now  # more sums may be missing: the next checkpoint stores them

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        """See `LedgerProvider.iterate_rows`."""
        return row_pages.iterate_rows(lambda work: self._read(work, timeout_s, []), query)

    def prune(self, before: float, timeout_s: float, edges: Sequence[float] = ()) -> int:
        """See `LedgerProvider.prune`."""
        return pruning.prune(lambda work: self.writer.run(work, timeout_s), before, edges)

    def read_pruned(self, timeout_s: float) -> Sequence[tuple[float, float]]:
        """See `LedgerProvider.read_pruned`."""
        return self._read(pruning.read_pruned, timeout_s, [])

    def _read(self, work: Callable[[apsw.Connection], T], timeout_s: float, missing: T) -> T:
        """Return the result of *work* in a read transaction, or *missing* if the file does not exist yet."""
        with translate_errors():
            if not self.database.path.is_file():
                return missing
            return self.database.read(work, timeout_s)

    # -- keys

    def read_keys(self, timeout_s: float) -> Sequence[ApiKey]:
        """See `LedgerKeys.read_keys`.

        Raises:
            LedgerUnavailable: See `LedgerKeys.read_keys`. The error is also raised if the file was deleted while it was
                open. An empty list would make a gateway serve clients without a key.
        """
        if not self.database.is_open:
            return self._read(keys.read_keys, timeout_s, [])
        with translate_errors():
            return self.database.read(keys.read_keys, timeout_s)

    def insert_key(self, key: ApiKey, timeout_s: float) -> bool:
        """See `LedgerKeys.insert_key`."""
        return bool(self.writer.run(partial(keys.insert_key, key=key), timeout_s))

    def revoke_key(self, name: str, at: float, timeout_s: float) -> None:
        """See `LedgerKeys.revoke_key`."""
        self.writer.run(partial(keys.revoke_key, name=name, at=at), timeout_s)

    def take_request(self, key_id: str, interval_s: float, burst_s: float, timeout_s: float) -> float:
        """See `LedgerKeys.take_request`."""
        take = partial(keys.take_request, key_id=key_id, interval_s=interval_s, burst_s=burst_s)
        wait: float = self.writer.run(take, timeout_s)
        return wait

    def atake_request(
        self, key_id: str, interval_s: float, burst_s: float, timeout_s: float
    ) -> Awaitable[float]:
        """See `LedgerKeys.take_request`."""
        take = partial(keys.take_request, key_id=key_id, interval_s=interval_s, burst_s=burst_s)
        return self.writer.run_async(take, timeout_s)

    def close(self) -> None:
        """Close the file. The process remains the owner of its open rows."""
        self.database.close()
        self.close_runs()
        if not self._open and not self.has_claims:
            self._owners.close()

    async def aclose(self) -> None:
        """See `close`, which does not wait and so runs in the event loop."""
        self.close()

    def after_fork(self) -> None:
        """Drop the open rows in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        self._open = set()
