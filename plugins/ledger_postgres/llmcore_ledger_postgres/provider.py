"""The ledger `postgres`: rows, counters and keys in one schema, shared by processes on many machines.

`reserve` and `settle` usually send one statement each, which calls a function of the schema; with a budget lease, none.
A statement that is sent twice has the same effect as one that is sent once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmcore.errors import LedgerUnavailable
from llmcore.support import forks
from llmcore.support.budget_periods import get_period
from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow, RowQuery
from llmcore.support.ledger_sums import parse_period
from llmcore.support.ledger_values import (
    ApiKey,
    Counter,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
    parse_scope,
)
from llmcore.support.threads import run_in_thread
from llmcore_ledger_postgres import encoding, pruning, reports
from llmcore_ledger_postgres.batches import Batcher
from llmcore_ledger_postgres.claims import Claims
from llmcore_ledger_postgres.connections import Connections
from llmcore_ledger_postgres.leases import Leases
from llmcore_ledger_postgres.loop_lanes import LoopLanes
from llmcore_ledger_postgres.owner import Owner
from llmcore_ledger_postgres.runs import Runs
from llmcore_ledger_postgres.schema import check_name, prepare
from llmcore_ledger_postgres.statements import Reserve, Settle, encode_lock_timeout, wait_for_counters

if TYPE_CHECKING:
    from llmcore_ledger_postgres.options import PostgresOptions

__all__ = ["PostgresLedger"]

_BEAT_TIMEOUT_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 5.0
_BEAT: Final = """
    SELECT {s}.current_timeline(), {s}.beat(%s), NOT EXISTS (SELECT 1 FROM {s}.owners o WHERE o.name < %s AND o.seen > clock_timestamp() - %s::interval)
"""
_SELECT_KEYS: Final = """
    SELECT name, id, digest, budget, per, models, requests_per_minute, created_at, expires_at, revoked_at FROM {s}.keys
"""


class PostgresLedger(Runs):
    """See `llmcore.contracts.LedgerProvider`."""

    def __init__(self, options: PostgresOptions) -> None:
        self._schema = check_name(options.schema)
        self._migrate = options.migrate
        self._silence_s = float(options.silence)
        self.connections = Connections(options)
        self.location = f"{self.connections.location} (schema {self._schema})"
        self.owner = Owner(self.beat, float(options.heartbeat))
        self.is_owner = False
        interval_s = float(options.lease)
        self._leases = (
            Leases(self._sync_leases, self.owner, interval_s, self._silence_s) if interval_s else None
        )
        self._claims = Claims()
        reserve, settle = Reserve(self), Settle(self)
        self._reserving, self._settling = Batcher(reserve), Batcher(settle)
        self._areserving = LoopLanes(reserve, self.connections, self._reserving)
        self._asettling = LoopLanes(settle, self.connections, self._settling)
        forks.watch(self)

    # -- requests

    def prepare(self, timeout_s: float) -> bool:
        """See `LedgerProvider.prepare`."""
        self.connections.run(lambda session: prepare(session, self._schema, migrate=self._migrate), timeout_s)
        self.recover(timeout_s)
        return bool(self._ask("SELECT EXISTS (SELECT 1 FROM {s}.budgets)", (), timeout_s))

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """See `LedgerProvider.reserve`."""
        leases = self._leases
        if leases is None:
            answer: Reserved | Refusal = self._reserving.run(request, timeout_s)
            return answer
        local, deadline = leases.reserve(request), time.monotonic() + timeout_s
        if local is not None:
            return local
        with leases.note_failure(request):
            answer = self._reserving.run(request, timeout_s)
            if type(answer) is Refusal and leases.yield_blocks(answer.limit.scope):
                leases.report(deadline - time.monotonic())
                answer = self._reserving.run(request, deadline - time.monotonic())
        return answer

    async def areserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        """See `LedgerProvider.reserve`."""
        leases = self._leases
        if leases is None:
            answer: Reserved | Refusal = await self._areserving.run(request, timeout_s)
            return answer
        local, deadline = leases.reserve(request), time.monotonic() + timeout_s
        if local is not None:
            return local
        with leases.note_failure(request):
            answer = await self._areserving.run(request, timeout_s)
            if type(answer) is Refusal and leases.yield_blocks(answer.limit.scope):
                await run_in_thread(leases.report, deadline - time.monotonic())
                answer = await self._areserving.run(request, deadline - time.monotonic())
        return answer

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.settle`."""
        counters: Sequence[Counter] = ()
        if self._leases:
            settlements, counters = self._leases.settle(settlements)
        return [*counters, *self._settling.run(settlements, timeout_s)] if settlements else counters

    async def asettle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.settle`."""
        counters: Sequence[Counter] = ()
        if self._leases:
            settlements, counters = self._leases.settle(settlements)
        return [*counters, *await self._asettling.run(settlements, timeout_s)] if settlements else counters

    def flush(self, timeout_s: float) -> None:
        """See `LedgerBuffer.flush`. The blocks of this process's leases are given back to their budgets too."""
        if self._leases:
            self._leases.report(timeout_s, gives_back=True)

    def _sync_leases(self, number: int, items: list[dict[str, Any]], timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        encoded = encoding.encode(items).encode()
        while True:
            left = deadline - time.monotonic()
            values = [self.owner.name.encode(), b"%d" % number, encoded, encode_lock_timeout(left)]
            text = self.connections.call(self.make_statement("sync_leases", 4), values, left)
            answer: dict[str, Any] = encoding.decode(text)
            if "stale" not in answer:
                return answer
            wait_for_counters(self, deadline - time.monotonic())

    def recover(self, timeout_s: float) -> int:
        """See `LedgerProvider.recover`."""
        return self._recover(timeout_s, is_recent=False)

    def _recover(self, timeout_s: float, *, is_recent: bool) -> int:
        """Settle the open rows of dead owners, and return their number.

        If *is_recent* is true, settle only rows of today and yesterday. Each statement settles a part of the rows. After
        *timeout_s* seconds, the remaining rows stay open.
        """
        deadline, closed = time.monotonic() + timeout_s, 0
        while (left := deadline - time.monotonic()) > 0 or not closed:
            try:
                found = self._call("recover", f"{self._silence_s} s", is_recent, timeout_s=left, waits=True)
            except LedgerUnavailable:
                if closed:
                    break
                raise
            if not found:
                break
            closed += found
        return closed

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        """See `LedgerProvider.record`."""
        added = encoding.encode([encoding.encode_row(row) for row in rows])
        self._call("record", batch, added, list(forget), timeout_s=timeout_s, waits=True)

    def _report(self, timeout_s: float) -> None:
        """Report the rows of this process's leases, because the caller is about to read rows."""
        if self._leases:
            self._leases.report(timeout_s)

    # -- this process

    def beat(self) -> None:
        """Report that this process is alive. After a failover, restore the rows that the server may have lost.

        The living process whose name sorts first also settles the rows of dead processes.
        """
        self.connections.reclaim()
        timeline, is_stale, is_first = self._beat(_BEAT_TIMEOUT_S)
        if is_stale or self.owner.is_behind(timeline):
            self.restate(_BEAT_TIMEOUT_S)
            self.owner.follow(timeline)
        elif self.owner.is_steady(self._silence_s) and is_first:
            self._recover(min(_BEAT_TIMEOUT_S, self._silence_s / 4), is_recent=True)

    def _beat(self, timeout_s: float) -> tuple[str, bool, bool]:
        """Send the heartbeat.

        Return the server's timeline, whether its counters must be rebuilt, and whether the name of this process is the
        first one of all living processes.
        """
        name = self.owner.name
        timeline, is_stale, is_first = self._read(_BEAT, (name, name, f"{self._silence_s} s"), timeout_s)[0]
        return timeline, is_stale, is_first

    def become_owner(self, timeout_s: float) -> None:
        """Begin the heartbeat, unless it has begun."""
        if not self.is_owner:
            timeline, *_ = self._beat(timeout_s)
            self.is_owner = self.owner.start(timeline)

    def _get_owner_name(self, timeout_s: float) -> str:
        self.become_owner(timeout_s)
        return self.owner.name

    def restate(self, timeout_s: float) -> bool:
        """Send the rows of this process again after a failover. Return whether the counters are rebuilt."""
        leases = self._leases.recall() if self._leases else []
        rows = encoding.encode([*self.owner.recall(), *leases])
        silence = f"{self._silence_s} s"
        return bool(self._call("restate", self.owner.name, rows, silence, timeout_s=timeout_s))

    def close(self) -> None:
        """See `LedgerProvider.close`. The heartbeat continues while rows of this process are open."""
        with contextlib.suppress(LedgerUnavailable):  # a thread reports the rows later
            self.flush(_CLOSE_TIMEOUT_S)
        if self.is_owner and not self.owner.open:
            self.owner.stop()
            self.is_owner = False
            with contextlib.suppress(LedgerUnavailable):  # without this call, others notice the end later
                self._call("leave", self.owner.name, timeout_s=1.0)
        self.connections.close()

    def drop(self, timeout_s: float = 10.0) -> None:
        """Delete the schema with everything in it, for tests."""
        statement = f"DROP SCHEMA IF EXISTS {self._schema} CASCADE".encode()
        self.connections.run(lambda session: session.execute(statement), timeout_s)

    def after_fork(self) -> None:
        """Become a new owner in a forked child; see `forks.ForkAware`."""
        self.is_owner = False

    # -- budgets

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.read_budgets`. The blocks of this process's leases are given back first."""
        self.flush(timeout_s)
        rows = self._read(
            "SELECT period, scope, spent, reserved, alerted FROM {s}.budgets WHERE period = ANY({s}.periods_of(%s))",
            (at,),
            timeout_s,
        )
        counters = [encoding.decode_counter(row) for row in rows]
        found = {each.scope: each for each in counters if each.period == get_period(each.scope.per, at)}
        for scope in scopes:
            if scope not in found:
                parts = encoding.encode_scope(scope)
                names = ("per", "provider", "model", "tag", "user", "unit")
                sums = self._ask(
                    "SELECT {s}.sum_rows(%s, %s, %s, %s, %s, %s, %s)",
                    (*(parts[name] for name in names), at),
                    timeout_s,
                )
                found[scope] = Counter(get_period(scope.per, at), scope, parts["scope"], sums[0], sums[1], 0)
        return sorted(found.values(), key=lambda counter: counter.text)

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        """See `LedgerProvider.claim_alert`."""
        return self._claims.run(
            self._call, "claim_alert", counter.period, counter.text, amount, timeout_s=timeout_s
        )

    def claim(self, name: str, timeout_s: float) -> bool:
        """See `LedgerClaims.claim`."""
        return self._claims.run(self._call, "add_counted", name, "", "", 0, timeout_s=timeout_s)

    def create_counters(self, scopes: Iterable[Scope], timeout_s: float) -> None:
        """Create the counters of *scopes* in their current periods, unless they exist."""
        encoded = encoding.encode([encoding.encode_scope(scope) for scope in scopes])
        self._call("create_counters", encoded, timeout_s=timeout_s, waits=True)

    def add_counted(self, batch: str, counter: Counter, timeout_s: float) -> bool:
        """See `LedgerImport.add_counted`."""
        self.create_counters([parse_scope(counter.text)], timeout_s)
        args = (batch, counter.period, counter.text, counter.spent)
        return self._claims.run(self._call, "add_counted", *args, timeout_s=timeout_s)

    # -- reports

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        """See `LedgerProvider.aggregate`."""
        self._report(timeout_s)
        text, values = reports.make_aggregate(query)
        size = len(query.dimensions)
        return [reports.make_report_row(row, size) for row in self._read(text, values, timeout_s)]

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        """See `LedgerProvider.iterate_rows`."""
        self._report(timeout_s)
        return reports.iterate_rows(lambda text, values: self._read(text, values, timeout_s), query)

    def prune(self, before: float, timeout_s: float, edges: Sequence[float] = ()) -> int:
        """See `LedgerProvider.prune`."""
        return pruning.prune(self._read, self._call, before, timeout_s, edges)

    def read_pruned(self, timeout_s: float) -> Sequence[tuple[float, float]]:
        """See `LedgerProvider.read_pruned`."""
        text = "SELECT DISTINCT at, call FROM {s}.calls WHERE attempt = -1 ORDER BY at, call"
        return [parse_period(call) for _, call in self._read(text, (), timeout_s)]

    # -- keys

    def read_keys(self, timeout_s: float) -> Sequence[ApiKey]:
        """See `LedgerKeys.read_keys`."""
        rows = self._read(_SELECT_KEYS, (), timeout_s)
        return [encoding.decode_key(row) for row in rows]

    def insert_key(self, key: ApiKey, timeout_s: float) -> bool:
        """See `LedgerKeys.insert_key`."""
        return bool(self._call("insert_key", encoding.encode_key(key), timeout_s=timeout_s))

    def revoke_key(self, name: str, at: float, timeout_s: float) -> None:
        """See `LedgerKeys.revoke_key`."""
        self._call("revoke_key", name, at, timeout_s=timeout_s)

    def take_request(self, key_id: str, interval_s: float, burst_s: float, timeout_s: float) -> float:
        """See `LedgerKeys.take_request`."""
        return float(self._call("take_request", key_id, interval_s, burst_s, timeout_s=timeout_s))

    # -- statements

    def make_statement(self, function: str, size: int) -> bytes:
        """Return the statement that calls a function with *size* arguments."""
        marks = ", ".join(f"${number + 1}" for number in range(size))
        return f"SELECT {self._schema}.{function}({marks})".encode()

    def _call(self, function: str, *args: Any, timeout_s: float, waits: bool = False) -> Any:
        """Call a function of the schema. If *waits* is true, append the time limit for locks to *args*."""
        if waits:
            args = (*args, encode_lock_timeout(timeout_s).decode())
        marks = ", ".join(["%s"] * len(args))
        return self._ask(f"SELECT {{s}}.{function}({marks})", args, timeout_s)

    def _ask(self, statement: str, args: Sequence[Any], timeout_s: float) -> Any:
        """Return the single value in the result of *statement*."""
        return self._read(statement, args, timeout_s)[0][0]

    def _read(self, statement: str, args: Sequence[Any], timeout_s: float) -> list[tuple[Any, ...]]:
        encoded = statement.replace("{s}", self._schema).encode()
        return self.connections.run(lambda session: session.execute(encoded, args).fetchall(), timeout_s)
