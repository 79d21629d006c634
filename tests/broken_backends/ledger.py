"""Ledgers, good and broken on purpose, under `LedgerConformance`; test_conformance_ledger.py runs this file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.builtin.options import SqliteOptions
from llmcore.builtin.sqlite_ledger.owners import Owners
from llmcore.builtin.sqlite_ledger.provider import SqliteLedger
from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow, RowQuery
from llmcore.support.ledger_runs import BUSY, MINE
from llmcore.support.ledger_values import (
    ApiKey,
    Counter,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore_testing.conformance import LedgerConformance


class Sync:
    """Correct, only blocking, without API keys: the least that keeps the contract, on top of `sqlite`."""

    location = "a test"

    def __init__(self, path: Path) -> None:
        self.inner = SqliteLedger(SqliteOptions(path=path))

    def prepare(self, timeout_s: float) -> bool:
        return self.inner.prepare(timeout_s)

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        return self.inner.reserve(request, timeout_s)

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        return self.inner.settle(settlements, timeout_s)

    def recover(self, timeout_s: float) -> int:
        return self.inner.recover(timeout_s)

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        self.inner.record(batch, rows, forget, timeout_s)

    def read_budgets(self, scopes: Sequence[Scope], at: float, timeout_s: float) -> Sequence[Counter]:
        return self.inner.read_budgets(scopes, at, timeout_s)

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        return self.inner.claim_alert(counter, amount, timeout_s)

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        return self.inner.aggregate(query, timeout_s)

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        return self.inner.iterate_rows(query, timeout_s)

    def prune(self, before: float, timeout_s: float, edges: Sequence[float] = ()) -> int:
        return self.inner.prune(before, timeout_s, edges)

    def read_pruned(self, timeout_s: float) -> Sequence[tuple[float, float]]:
        return self.inner.read_pruned(timeout_s)

    def close(self) -> None:
        self.inner.close()


class OpensTwice(Sync):
    """Augustas11/macprovider#200: a repeated reservation opens a second row."""

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        self.count = getattr(self, "count", 0) + 1
        return super().reserve(msgspec.structs.replace(request, key=f"{request.key}.{self.count}"), timeout_s)


class NeverRefuses(Sync):
    """BerriAI/litellm#27381: only warns."""

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        limits = [limit._replace(refuses=False) for limit in request.limits]
        return super().reserve(msgspec.structs.replace(request, limits=limits), timeout_s)


class ChecksBeforehand(Sync):
    """BerriAI/litellm#34732: compares and reserves in two transactions."""

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        counters = self.inner.read_budgets([limit.scope for limit in request.limits], request.at, timeout_s)
        spent = {each.scope: each.spent + each.reserved for each in counters}
        time.sleep(0.05)  # all threads have compared before the first one reserves
        loose = [limit._replace(refuses=False) for limit in request.limits]
        for limit in request.limits:
            if (
                spent[limit.scope] + request.amount.get_amount(limit.scope.unit) > limit.amount
                and limit.refuses
            ):
                return super().reserve(request, timeout_s)
        return super().reserve(msgspec.structs.replace(request, limits=loose), timeout_s)


class KeepsReservations(Sync):
    """A settlement adds the cost and does not release the reservation."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        kept = [
            each._replace(request=msgspec.structs.replace(each.request, maximum=0)) for each in settlements
        ]
        return super().settle(kept, timeout_s)


class NeedsTheRow(Sync):
    """Cannot find a row by its key."""

    def settle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        return super().settle([each for each in settlements if each.row is not None], timeout_s)


class RecordsTwice(Sync):
    """google/adk-python#6465: records a batch again if it is sent again."""

    def record(self, batch: str, rows: Sequence[LedgerRow], forget: Sequence[str], timeout_s: float) -> None:
        super().record(batch, rows, [*forget, batch], timeout_s)


class AlertsEveryone(Sync):
    """BerriAI/litellm#14809: every process may send an alert."""

    def claim_alert(self, counter: Counter, amount: int, timeout_s: float) -> bool:
        super().claim_alert(counter, amount, timeout_s)
        return True


class OwnsEverything(Sync):
    """Opens every row as this process, also those of a run that outlives the process."""

    def reserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        charge = msgspec.structs.replace(request.charge, owner=None)
        return super().reserve(msgspec.structs.replace(request, charge=charge), timeout_s)


class TakesEveryOwnerForDead(Sync):
    """mars-project/mars#470: takes living owners for dead ones."""

    def recover(self, timeout_s: float) -> int:
        def is_dead(name: str) -> bool:
            return bool(name)

        self.inner._owners.is_dead = is_dead  # type: ignore[method-assign]
        return super().recover(timeout_s)


class NeverRecovers(Sync):
    """matt-ramotar/meeseeks#19: leaves the rows of dead owners open."""

    def recover(self, timeout_s: float) -> int:
        del timeout_s
        return 0


class PrunesOpenRows(Sync):
    """Deletes rows that are open."""

    def prune(self, before: float, timeout_s: float, edges: Sequence[float] = ()) -> int:
        deleted = super().prune(before, timeout_s, edges)
        self.inner.writer.run(lambda db: db.execute("DELETE FROM calls"))
        return deleted


class ForgetsPruned(Sync):
    """Deletes pruned rows and keeps no sums."""

    def prune(self, before: float, timeout_s: float, edges: Sequence[float] = ()) -> int:
        deleted = super().prune(before, timeout_s, edges)
        self.inner.writer.run(lambda db: db.execute("DELETE FROM calls WHERE attempt = -1"))
        return deleted


class IgnoresFilters(Sync):
    """habari/habari#92: returns every row."""

    def iterate_rows(self, query: RowQuery, timeout_s: float) -> Iterator[LedgerRow]:
        return super().iterate_rows(msgspec.structs.replace(query, filters={}), timeout_s)


class OnlyUtc(Sync):
    """Firstp1ck/pi-coding-agent-forge#20: knows no time zones."""

    def aggregate(self, query: ReportQuery, timeout_s: float) -> Sequence[ReportRow]:
        return super().aggregate(msgspec.structs.replace(query, offsets=((0, 0),)), timeout_s)


class DropsCancelled(Sync):
    """xorbitsai/xagent#2608: a cancelled task leaves its row behind."""

    async def areserve(self, request: ReserveRequest, timeout_s: float) -> Reserved | Refusal:
        import asyncio

        answer = self.inner.reserve(request, timeout_s)
        await asyncio.sleep(0.01)
        return answer

    async def asettle(self, settlements: Sequence[Settlement], timeout_s: float) -> Sequence[Counter]:
        return self.inner.settle(settlements, timeout_s)


class SharesKeys(SqliteLedger):
    """useautumn/autumn#166: accepts a second key of the same name."""

    def insert_key(self, key: ApiKey, timeout_s: float) -> bool:
        super().insert_key(key, timeout_s)
        return True


class SharesItems(SqliteLedger):
    """Gives an item to every claim."""

    def claim_items(self, run: str, claim: str, keys: Sequence[bytes], timeout_s: float) -> Any:
        states = super().claim_items(run, claim, keys, timeout_s)
        return states and [MINE if state == BUSY else state for state in states]


class ForgetsClosing(SqliteLedger):
    """Lets workers go on after the end of a run."""

    def close_run(self, run: str, timeout_s: float) -> None:
        del run, timeout_s


class ReplacesAnswers(SqliteLedger):
    """Stores the last answer of an item, not the first."""

    def finish_items(
        self, run: str, claim: str, answers: Sequence[tuple[bytes, bytes]], timeout_s: float
    ) -> None:
        work = "DELETE FROM items WHERE key = ?"
        keys = [(key,) for key, _ in answers]
        self._find_writer(run).run(lambda db: db.executemany(work, keys).fetchall(), timeout_s)
        super().finish_items(run, claim, answers, timeout_s)


class KeepsDeadClaims(SqliteLedger):
    """Takes every process for alive."""

    def claim_items(self, run: str, claim: str, keys: Sequence[bytes], timeout_s: float) -> Any:
        self._run_owners = Undying(self.database.path)
        return super().claim_items(run, claim, keys, timeout_s)


class Undying(Owners):
    def is_dead(self, name: str) -> bool:
        del name
        return False


def make_kit(kind: type[Any]) -> type[LedgerConformance]:
    class Kit(LedgerConformance):
        recovery_s = 0.5 if kind in {NeverRecovers, KeepsDeadClaims} else 60.0

        @pytest.fixture
        def provider(self, tmp_path: Path) -> Any:
            return self.opener_of(tmp_path)()

        @pytest.fixture
        def opener(self, tmp_path: Path) -> Callable[[], Any]:
            return self.opener_of(tmp_path)

        def opener_of(self, folder: Path) -> Callable[[], Any]:
            path = folder / "ledger.sqlite3"
            return lambda: kind(SqliteOptions(path=path)) if issubclass(kind, SqliteLedger) else kind(path)

    Kit.__name__ = Kit.__qualname__ = f"Test{kind.__name__}"
    return Kit


for _kind in list(vars().values()):
    if isinstance(_kind, type) and issubclass(_kind, Sync | SqliteLedger) and _kind is not SqliteLedger:
        globals()[f"Test{_kind.__name__}"] = make_kit(_kind)
