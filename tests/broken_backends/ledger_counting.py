"""Ledgers whose sums, limits, alerts or keys are wrong, as reported; test_conformance_ledger.py runs this file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from llmcore.builtin.sqlite_ledger.provider import SqliteLedger
from llmcore.errors import LedgerUnavailable
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
from tests.broken_backends.ledger import Sync, make_kit


def change(settlement: Settlement, **outcome: Any) -> Settlement:
    """Return the settlement with another outcome."""
    return settlement._replace(outcome=msgspec.structs.replace(settlement.outcome, **outcome))


class CountsRefusals(Sync):
    """sourcegraph/sourcegraph-public-snapshot#51899: what was refused is counted too."""

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        answer = super().reserve(request, timeout_s)
        if isinstance(answer, Refusal):
            add = (request.maximum,)
            self.inner.writer.run(lambda db: db.execute("UPDATE budgets SET reserved = reserved + ?", add))
        return answer


class CountsAlone(Sync):
    """azerozero/grob#566: each process counts for itself, so that all together exceed the limit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.with_name(f"{id(self)}.sqlite3"))


class RoundsToCents(Sync):
    """mitos-run/mitos#662: each request is rounded to whole cents, so that small ones cost nothing."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        rounded = [change(each, cost=round(each.outcome.cost or Decimal(0), 2)) for each in settlements]
        return super().settle(rounded, timeout_s)


class ChargesHits(Sync):
    """BerriAI/litellm#1783: an answer from the cache costs as much as the request that it saved."""

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        charged = [msgspec.structs.replace(row, cost=row.saved) if row.saved else row for row in rows]
        super().record(batch, charged, forget, timeout_s)


class SettlesTwice(Sync):
    """Augustas11/macprovider#762: a repeated settlement is billed again."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        keys = self.__dict__.setdefault("settled", set())
        again = [each.outcome.cost or 0 for each in settlements if each.request.key in keys]
        keys.update(each.request.key for each in settlements)
        more = (int(sum(again) * 10**9),)
        self.inner.writer.run(lambda db: db.execute("UPDATE budgets SET spent = spent + ?", more))
        return super().settle(settlements, timeout_s)


class KeepsWhatFailuresReserved(Sync):
    """mozilla-ai/otari#128: a request that failed keeps its reservation for ever."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        kept = [
            each._replace(request=msgspec.structs.replace(each.request, maximum=0))
            if each.outcome.error
            else each
            for each in settlements
        ]
        return super().settle(kept, timeout_s)


class KeepsCancelledReservations(Sync):
    """BerriAI/litellm#30522: a request that was cancelled keeps its reservation."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        return super().settle([each for each in settlements if each.outcome.requested], timeout_s)


class UncertainCostsNothing(Sync):
    """aiosbrain/aios-team-brain#458: a request whose answer was lost is billed by its server and costs nothing here."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        free = [change(each, cost=Decimal(0)) if each.outcome.uncertain else each for each in settlements]
        return super().settle(free, timeout_s)


class HidesFailures(Sync):
    """deltawi/deltallm#51: a request that failed has no row."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        counters = super().settle(settlements, timeout_s)
        self.inner.writer.run(lambda db: db.execute("DELETE FROM calls WHERE state = 'failed'"))
        return counters


class CountsOnlyAnswers(Sync):
    """deltawi/deltallm#52: the number of requests leaves out those that failed."""

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        found = super().aggregate(query, timeout_s)
        return [msgspec.structs.replace(row, requests=row.requests - row.failures) for row in found]


class DropsRowsOfTheDead(Sync):
    """librefang/librefang#3784: what was running when the process died vanishes without a trace."""

    def recover(self, timeout_s: float) -> int:
        closed = super().recover(timeout_s)
        self.inner.writer.run(lambda db: db.execute("DELETE FROM calls WHERE state = 'lost'"))
        return closed


class DaysKeepTheSpend(Sync):
    """BerriAI/litellm#27481: a new period begins with the sum of all earlier ones."""

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        found = super().read_budgets(scopes, at, timeout_s)
        ever = [msgspec.structs.replace(each.scope, per="total") for each in found]
        totals = {each.scope: each.spent for each in super().read_budgets(ever, at, timeout_s)}
        return [each._replace(spent=totals[scope]) for each, scope in zip(found, ever, strict=True)]


class AlertsAgainAfterARestart(Sync):
    """BerriAI/litellm#35814: only the memory of the process knows that an alert was sent."""

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        super().claim_alert(counter, amount, timeout_s)
        sent = self.__dict__.setdefault("sent", {})
        is_new = sent.get(counter.text, 0) < amount
        sent[counter.text] = max(amount, sent.get(counter.text, 0))
        return bool(is_new)

    def close(self) -> None:
        self.__dict__.pop("sent", None)
        super().close()


class WeeksBeginOnSunday(Sync):
    """simpleanalytics/roadmap#270: a report of weeks begins them on Sunday."""

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        if query.dimensions == ("week",):
            later = tuple((moment, ahead + 86400) for moment, ahead in query.offsets)
            query = msgspec.structs.replace(query, offsets=later)
        return super().aggregate(query, timeout_s)


class LimitsBeforeItFilters(Sync):
    """algorand/indexer#1090: the limit counts the rows before the filter."""

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        every = msgspec.structs.replace(query, limit=None)
        matching = {row.id for row in super().iterate_rows(every, timeout_s)}
        first = msgspec.structs.replace(query, filters={}, states=None)
        return (row for row in super().iterate_rows(first, timeout_s) if row.id in matching)


class ReadersBlockWriters(Sync):
    """lemon24/reader#6: the ledger is locked until the caller has taken every row."""

    readers = 0

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        self.readers += 1
        yield from super().iterate_rows(query, timeout_s)
        self.readers -= 1

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        if self.readers:
            raise LedgerUnavailable("database is locked")
        return super().reserve(request, timeout_s)


class RevokesNothing(SqliteLedger):
    """wso2/product-apim#9641: a revoked key is still valid."""

    def revoke_key(self, name: str, at: float, timeout_s: float) -> None:
        del name, at, timeout_s


class RevocationsEndWithTheProcess(SqliteLedger):
    """wso2/product-apim#10283: after a restart, a revoked key is valid again."""

    def revoke_key(self, name: str, at: float, timeout_s: float) -> None:
        del timeout_s
        self.__dict__.setdefault("revoked", {}).setdefault(name, at)

    def read_keys(self, timeout_s: float) -> Sequence[ApiKey]:
        revoked = self.__dict__.get("revoked", {})
        return [
            msgspec.structs.replace(key, revoked_at=revoked.get(key.name))
            for key in super().read_keys(timeout_s)
        ]

    def close(self) -> None:
        self.__dict__.pop("revoked", None)
        super().close()


class NamesAreNeverFree(SqliteLedger):
    """zatosource/zato#701: the name of a revoked key cannot be used again."""

    def insert_key(self, key: ApiKey, timeout_s: float) -> bool:
        names = {each.name for each in self.read_keys(timeout_s)}
        return key.name not in names and super().insert_key(key, timeout_s)


class NeverLimitsRequests(SqliteLedger):
    """BerriAI/litellm#39713: the requests of a key are never limited."""

    def take_request(self, key_id: str, interval_s: float, burst_s: float, timeout_s: float) -> float:
        del key_id, interval_s, burst_s, timeout_s
        return 0.0


for _kind in list(vars().values()):
    if isinstance(_kind, type) and issubclass(_kind, Sync | SqliteLedger) and _kind.__module__ == __name__:
        globals()[f"Test{_kind.__name__}"] = make_kit(_kind)
