"""Ledgers that store, select or sum something wrongly; test_conformance_ledger.py runs this file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow, RowQuery
from llmcore.support.ledger_values import Counter, Refusal, Reserved, ReserveRequest, Scope, Settlement
from llmcore.types import Usage
from tests.broken_backends.ledger import Sync, make_kit

PATIENCE_S = 30.0


class Settles(Sync):
    """Correct; `change` is a place for faults."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        return super().settle(
            [each._replace(outcome=self.change(each.outcome)) for each in settlements], timeout_s
        )

    def change(self, outcome: Any) -> Any:
        return outcome


class DropsTokens(Settles):
    """Keeps costs without their tokens."""

    def change(self, outcome: Any) -> Any:
        return msgspec.structs.replace(outcome, usage=Usage())


class DropsRequestIds(Settles):
    def change(self, outcome: Any) -> Any:
        return msgspec.structs.replace(outcome, request_id=None)


class TakesMillisecondsForSeconds(Settles):
    def change(self, outcome: Any) -> Any:
        first_s = outcome.first_token_s
        return msgspec.structs.replace(outcome, first_token_s=first_s and first_s / 1000)


class DropsTiers(Sync):
    """Keeps the tier of the answer, not the one that was asked for."""

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        charge = msgspec.structs.replace(request.charge, tier=None)
        return super().reserve(msgspec.structs.replace(request, charge=charge), timeout_s)


class SumsNoOutput(Sync):
    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        rows = super().aggregate(query, timeout_s)
        return [msgspec.structs.replace(row, output_tokens=0) for row in rows]


class ReportsFromTheBeginning(Sync):
    """Reads only the end of the time range."""

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        return super().aggregate(msgspec.structs.replace(query, since=0.0), timeout_s)


class ListsFromTheBeginning(Sync):
    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        return super().iterate_rows(msgspec.structs.replace(query, since=0.0), timeout_s)


class RecordsNoCharacters(Sync):
    """The characters of requests during an outage are not counted."""

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        silent = [msgspec.structs.replace(row, characters=0) for row in rows]
        super().record(batch, silent, forget, timeout_s)


class BatchesOfAnInstance(Sync):
    """Remembers the recorded batches in the memory of one process."""

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        super().record(f"{batch} {id(self)}", rows, forget, timeout_s)


class SortsBackwards(Sync):
    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        return super().read_budgets(scopes, at, timeout_s)[::-1]


class ComparesThenClaims(Sync):
    """Two threads see that the alert was not sent, before either of them records it."""

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        readers = self.__dict__.setdefault("readers", set())
        read = self.__dict__.setdefault("read", threading.Condition())
        counters = self.read_budgets([], counter_time(self), timeout_s)
        claimed = max(each.alerted for each in counters) >= amount
        with read:
            readers.add(threading.get_ident())
            read.notify_all()
            read.wait_for(lambda: len(readers) > 1, PATIENCE_S)
        if claimed:
            return False
        super().claim_alert(counter, amount, timeout_s)
        return True


def counter_time(ledger: Sync) -> float:
    """Return the time of the newest row."""
    return max(row.at for row in ledger.iterate_rows(RowQuery(), PATIENCE_S))


_BROKEN = [kind for kind in vars().values() if isinstance(kind, type) and issubclass(kind, Sync)]
for _kind in _BROKEN:
    if _kind not in {Sync, Settles}:
        globals()[f"Test{_kind.__name__}"] = make_kit(_kind)
