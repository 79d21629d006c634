"""`core.usage`: what the calls of this Core came to, and what the ledger says of all."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from llmcore.errors import LedgerError
from llmcore.ledger.meter import Meter, Totals
from llmcore.units import Duration

if TYPE_CHECKING:
    from llmcore.ledger.report import BudgetState, UsageRow
    from llmcore.ledger.spending import Spending

__all__ = ["UsageBook", "When"]

T = TypeVar("T")

When = str | float | datetime | date | timedelta | None
"""A moment: "2026-11-25", ISO 8601, seconds since 1970, or a time before now such as "7d"; None for no bound."""


class UsageBook:
    """Totals of this Core, kept in memory, and the ledger of all processes that share it."""

    def __init__(self, meter: Meter, opener: Callable[[], Spending]) -> None:
        self.meter = meter
        self._opener = opener

    def totals(self) -> Totals:
        """Return the sums of this Core's calls since the beginning, or since `reset`."""
        return self.meter.totals()

    def reset(self) -> None:
        """Begin the totals again at zero; the ledger keeps what it has."""
        self.meter.reset()

    def by(self, group: str, *, since: When = None, until: When = None) -> list[UsageRow]:
        """Return what the ledger has, summed by *group*: total, day, month, model, provider, kind, user, tag or error.

        Raises:
            LedgerError: There is no such group or moment, or the ledger cannot be read.
        """
        from llmcore.ledger.report import GROUPS, aggregated

        if group not in GROUPS:
            raise LedgerError(f"usage is not kept by `{group}`", expected=", ".join(GROUPS))
        return self._read(lambda db: aggregated(db, group, _moment(since, 0.0), _moment(until, math.inf)))

    async def aby(self, group: str, *, since: When = None, until: When = None) -> list[UsageRow]:
        """See `by`."""
        import asyncio

        return await asyncio.to_thread(self.by, group, since=since, until=until)

    def budgets(self) -> list[BudgetState]:
        """Return what each budget of the ledger has come to in its current period."""
        from llmcore.ledger.report import budget_states

        spending = self._spending()
        return self._read(lambda db: spending.states(budget_states(db, time.time())), ensure=True)

    async def abudgets(self) -> list[BudgetState]:
        """See `budgets`."""
        import asyncio

        return await asyncio.to_thread(self.budgets)

    def open(self) -> list[dict[str, Any]]:
        """Return the rows of requests under way, and of those whose process died before they were settled."""
        from llmcore.ledger.report import exported

        where = "AND state IN ('open', 'lost')"
        return self._read(lambda db: list(exported(db, 0.0, math.inf, where=where)))

    def export(self, *, since: When = None, until: When = None) -> Generator[dict[str, Any], None, None]:
        """Yield every row of the ledger, oldest first."""
        from llmcore.ledger.report import exported

        start, end = _moment(since, 0.0), _moment(until, math.inf)
        reader = self._managed(self._reader)
        try:
            rows = exported(reader, start, end)
            while (row := self._managed(lambda: next(rows, None))) is not None:
                yield row
        finally:
            reader.close()

    def prune(self, before: str | float | datetime | date | timedelta) -> int:
        """Delete the settled rows from before *before*, such as "90d"; return how many. Budgets keep their sums."""
        from llmcore.ledger.report import pruned

        moment = _moment(before, None)
        gone: int = self._managed(lambda: self._spending().do(lambda db: pruned(db, moment)))
        return gone

    def _read(self, question: Callable[[Any], T], *, ensure: bool = False) -> T:
        def asked() -> T:
            reader = self._reader(ensure=ensure)
            try:
                return question(reader)
            finally:
                reader.close()

        return self._managed(asked)

    def _reader(self, *, ensure: bool = False) -> Any:
        spending = self._spending()
        spending.settle_up(ensure=ensure)
        return spending.database.reader()

    def _managed(self, act: Callable[[], T]) -> T:
        from llmcore.ledger.spending import FAULTS

        try:
            return act()
        except FAULTS as error:
            said = f"{type(error).__name__}: {error}"
        raise LedgerError(f"the ledger cannot be read: {said}", where=str(self._spending().database.path))

    def _spending(self) -> Spending:
        spending = self._opener()
        if not spending.kept:
            raise LedgerError(
                "no ledger is kept",
                where="[ledger] enabled",
                expected="enabled = true, which it is where nothing is said",
                fix="llmcore config set ledger.enabled true",
            )
        return spending


def _moment(when: When, otherwise: Any) -> Any:
    """Return seconds since 1970."""
    match when:
        case None:
            return otherwise
        case timedelta():
            moment = time.time() - when.total_seconds()
        case datetime():
            moment = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        case date():
            moment = datetime(when.year, when.month, when.day, tzinfo=UTC).timestamp()
        case str():
            moment = _spelt(when)
        case _:
            moment = float(when)
    return moment


def _spelt(when: str) -> float:
    with contextlib.suppress(ValueError):
        return float(_moment(datetime.fromisoformat(when), None))
    with contextlib.suppress(ValueError):
        return time.time() - Duration.parse(when)
    raise LedgerError(
        f"{when!r} is no moment", expected='a date such as "2026-11-25", or a time before now such as "7d"'
    )
