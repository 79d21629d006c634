"""The ledger `postgres`: rows, counters and keys in one schema, shared by processes on many machines.

Reserving and settling take one statement each, which calls a function of the schema. Every statement may be repeated.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
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
from llmcore_ledger_postgres.owner import Owner
from llmcore_ledger_postgres.runs import Runs
from llmcore_ledger_postgres.schema import check_name, prepare

if TYPE_CHECKING:
    from llmcore_ledger_postgres.options import PostgresOptions

__all__ = ["PostgresLedger"]

_BEAT_TIMEOUT_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 5.0
_STALE: Final = {"stale": True}
"""The answer of a server that has replaced another server and may lack rows."""
_STALE_PAUSE_S: Final = 0.2
_SELECT_KEYS: Final = """
    SELECT name, id, digest, budget, per, models, requests_per_minute, created_at, expires_at, revoked_at FROM {s}.keys
"""

_STATEMENTS: Final = {
    "reserve": b"SELECT {s}.reserve($1, $2, $3)",
    "settle": b"SELECT {s}.settle($1, $2)",
    "sync_leases": b"SELECT {s}.sync_leases($1, $2, $3, $4)",
}


class PostgresLedger(Runs):
    """See `llmcore.contracts.LedgerProvider`."""

    def __init__(self, options: PostgresOptions) -> None:
        self._schema = check_name(options.schema)
        self._migrate = options.migrate
        self._silence_s = float(options.silence)
        self._connections = Connections(options)
        self.location = f"{self._connections.location} (schema {self._schema})"
        self._owner = Owner(self.beat, float(options.heartbeat))
        self._is_owner = False
        interval_s = float(options.lease)
        self._leases = (
            Leases(self._sync_leases, self._owner, interval_s, self._silence_s) if interval_s else None
        )
        self._claims = Claims()
        self._reserving = Batcher(self._reserve_batch)
        self._settling = Batcher(self._settle_batch)
        forks.watch(self)

    # -- requests

    def prepare(self, timeout_s: float) -> bool:
        """See `LedgerProvider.prepare`."""
        self._connections.run(
            lambda session: prepare(session, self._schema, migrate=self._migrate), timeout_s
        )
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
            answer: Reserved | Refusal = await self._reserving.run_async(request, timeout_s)
            return answer
        local, deadline = leases.reserve(request), time.monotonic() + timeout_s
        if local is not None:
            return local
        with leases.note_failure(request):
            answer = await self._reserving.run_async(request, timeout_s)
            if type(answer) is Refusal and leases.yield_blocks(answer.limit.scope):
                await run_in_thread(leases.report, deadline - time.monotonic())
                answer = await self._reserving.run_async(request, deadline - time.monotonic())
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
        return (
            [*counters, *await self._settling.run_async(settlements, timeout_s)] if settlements else counters
        )

    def flush(self, timeout_s: float) -> None:
        """See `LedgerBuffer.flush`. The blocks of this process are given back too."""
        if self._leases:
            self._leases.report(timeout_s, gives_back=True)

    def _reserve_batch(self, requests: Sequence[ReserveRequest], timeout_s: float) -> Sequence[Any]:
        deadline = time.monotonic() + timeout_s
        if not self._is_owner:
            self._become_owner(timeout_s)
        answers: list[Any] = [None] * len(requests)
        try:
            self._fill_answers(answers, requests, deadline)
        except LedgerUnavailable as error:
            error.unknown = error.unknown or any(type(answer) is Reserved for answer in answers)
            raise
        return answers

    def _fill_answers(self, answers: list[Any], requests: Sequence[ReserveRequest], deadline: float) -> None:
        waiting = list(range(len(requests)))
        while waiting:
            items = [encoding.encode_request(requests[number]) for number in waiting]
            left = deadline - time.monotonic()
            raw = encoding.decode(
                self._send("reserve", self._owner.name, encoding.encode(items), timeout_s=left)
            )
            again = []
            for number, answer in zip(waiting, raw, strict=True):
                decoded = encoding.decode_answer(answer, requests[number])
                answers[number] = decoded
                if type(decoded) is Reserved and requests[number].charge.owner is None:
                    opened = encoding.make_open_row(requests[number], decoded, self._owner.name)
                    self._owner.open[requests[number].key] = opened
                elif decoded is None:
                    again.append((number, answer))
            waiting = self._resolve(again, requests, deadline)

    def _resolve(
        self, again: Sequence[tuple[int, dict[str, Any]]], requests: Sequence[ReserveRequest], deadline: float
    ) -> list[int]:
        """Handle the answers of the server. Return the numbers of the requests to send again."""
        left = deadline - time.monotonic()
        if any("void" in answer for _, answer in again):
            raise LedgerUnavailable("the request was abandoned")
        missing = {
            limit.scope
            for number, answer in again
            if "missing" in answer
            for limit in requests[number].limits
        }
        if missing:
            scopes = [encoding.encode_scope(scope) for scope in missing]
            self._call("create_counters", encoding.encode(scopes), timeout_s=left, waits=True)
        if any("stale" in answer for _, answer in again):
            self._wait_for_counters(left)
        return [number for number, _ in again]

    def _settle_batch(self, batch: Sequence[Sequence[Settlement]], timeout_s: float) -> Sequence[Any]:
        deadline = time.monotonic() + timeout_s
        items = [encoding.encode_settlement(each) for settlements in batch for each in settlements]
        answers = self._send_settlements(items, timeout_s)
        if _STALE in answers:  # a failover lost an open row: send the open rows again, then settle them
            self._restate(deadline - time.monotonic())
            answers += self._send_settlements(items, deadline - time.monotonic())
        for item in items:
            self._owner.close(item)
        counters = [encoding.decode_counter(each) for each in answers if each != _STALE]
        latest = {(counter.period, counter.text): counter for counter in counters}
        return [list(latest.values())] * len(batch)

    def _send_settlements(self, items: Sequence[Any], timeout_s: float) -> list[Any]:
        text = self._send("settle", encoding.encode(items), timeout_s=timeout_s)
        return encoding.decode(text)  # type: ignore[no-any-return]

    def _wait_for_counters(self, timeout_s: float) -> None:
        """Send the rows of this process again after a failover. Pause if the server does not have all rows yet."""
        if self._restate(timeout_s):
            return
        if timeout_s <= _STALE_PAUSE_S:
            raise LedgerUnavailable(
                "the server was replaced and may have lost rows; budgets wait until they are rebuilt",
                busy=True,
            )
        time.sleep(_STALE_PAUSE_S)

    def _sync_leases(self, number: int, items: list[dict[str, Any]], timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        encoded = encoding.encode(items)
        while True:
            left = deadline - time.monotonic()
            text = self._send("sync_leases", self._owner.name, str(number), encoded, timeout_s=left)
            answer: dict[str, Any] = encoding.decode(text)
            if "stale" not in answer:
                return answer
            self._wait_for_counters(deadline - time.monotonic())

    def recover(self, timeout_s: float) -> int:
        """See `LedgerProvider.recover`."""
        return int(self._call("recover", f"{self._silence_s} s", timeout_s=timeout_s, waits=True))

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        """See `LedgerProvider.record`."""
        added = encoding.encode([encoding.encode_row(row) for row in rows])
        self._call("record", batch, added, list(forget), timeout_s=timeout_s, waits=True)

    def _report(self, timeout_s: float) -> None:
        """Write the rows of this process, because the caller is about to read rows."""
        if self._leases:
            self._leases.report(timeout_s)

    # -- this process

    def beat(self) -> None:
        """Report that this process is alive. After a failover, restore the rows that the server may have lost."""
        if self._call("beat", self._owner.name, timeout_s=_BEAT_TIMEOUT_S):
            self._restate(_BEAT_TIMEOUT_S)

    def _get_owner_name(self, timeout_s: float) -> str:
        if not self._is_owner:
            self._become_owner(timeout_s)
        return self._owner.name

    def _become_owner(self, timeout_s: float) -> None:
        self._call("beat", self._owner.name, timeout_s=timeout_s)
        self._owner.start()
        self._is_owner = True

    def _restate(self, timeout_s: float) -> bool:
        leases = self._leases.recall() if self._leases else []
        rows = encoding.encode([*self._owner.recall(), *leases])
        silence = f"{self._silence_s} s"
        return bool(self._call("restate", self._owner.name, rows, silence, timeout_s=timeout_s))

    def close(self) -> None:
        """See `LedgerProvider.close`. The heartbeat continues while rows of this process are open."""
        with contextlib.suppress(LedgerUnavailable):  # a thread reports the rows later
            self.flush(_CLOSE_TIMEOUT_S)
        if self._is_owner and not self._owner.open:
            self._owner.stop()
            self._is_owner = False
            with contextlib.suppress(LedgerUnavailable):  # other processes notice the end of the heartbeat
                self._call("leave", self._owner.name, timeout_s=1.0)
        self._connections.close()

    def drop(self, timeout_s: float = 10.0) -> None:
        """Delete the schema with everything in it, for tests."""
        statement = f"DROP SCHEMA IF EXISTS {self._schema} CASCADE".encode()
        self._connections.run(lambda session: session.execute(statement), timeout_s)

    def after_fork(self) -> None:
        """Become a new owner in a forked child; see `forks.ForkAware`."""
        self._is_owner = False

    # -- budgets

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        """See `LedgerProvider.read_budgets`. The blocks of this process are given back first."""
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

    def add_counted(self, batch: str, counter: Counter, timeout_s: float) -> bool:
        """See `LedgerImport.add_counted`."""
        scopes = [encoding.encode_scope(parse_scope(counter.text))]
        self._call("create_counters", encoding.encode(scopes), timeout_s=timeout_s, waits=True)
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

    def _send(self, function: str, *args: str, timeout_s: float) -> bytes:
        """Call a function that takes texts and the time limit for locks, and returns JSON."""
        statement = _STATEMENTS[function].replace(b"{s}", self._schema.encode())
        values = [*(arg.encode() for arg in args), _make_lock_timeout(timeout_s).encode()]
        return self._connections.run(lambda session: session.call(statement, values), timeout_s)

    def _call(self, function: str, *args: Any, timeout_s: float, waits: bool = False) -> Any:
        """Call a function of the schema. With *waits*, pass the time limit for locks."""
        if waits:
            args = (*args, _make_lock_timeout(timeout_s))
        marks = ", ".join(["%s"] * len(args))
        return self._ask(f"SELECT {{s}}.{function}({marks})", args, timeout_s)

    def _ask(self, statement: str, args: Sequence[Any], timeout_s: float) -> Any:
        """Return the single value in the result of *statement*."""
        return self._read(statement, args, timeout_s)[0][0]

    def _read(self, statement: str, args: Sequence[Any], timeout_s: float) -> list[tuple[Any, ...]]:
        encoded = statement.replace("{s}", self._schema).encode()
        return self._connections.run(lambda session: session.execute(encoded, args).fetchall(), timeout_s)


def _make_lock_timeout(timeout_s: float) -> str:
    return f"{max(1, int(timeout_s * 1000))}ms"
