"""Copy the sums of pruned rows into another ledger, which may have some of the rows already."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.ledger.operations import Operations
from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_sums import SUM_AMOUNTS, SUM_KEYS

__all__ = ["Claims", "PrunedRows"]


class Claims:
    """Tells from which days an earlier migration has copied rows, and claims the other days.

    Args:
        location: The location of the ledger from which rows are copied, the source.
        target: The ledger that gets the rows.
    """

    def __init__(self, location: str, target: Operations) -> None:
        self._location, self._target = location, target
        self._can_claim = hasattr(target.provider, "claim")
        self._is_new: dict[int, bool] = {}

    def is_new(self, at: float) -> bool:
        """Return False if an earlier migration has copied rows of this source from the day that contains *at*.

        The first call for a day claims the day in the target.
        """
        day = int(at // 86400)
        if day not in self._is_new:
            name = f"{self._location} day {day}"
            self._is_new[day] = self._can_claim and self._target.run("claim", name, LOCK_TIMEOUT_S)
        return self._is_new[day]


class PrunedRows:
    """The sums of pruned rows that the target lacks.

    For a day that an earlier migration copied, these are the sums of the source minus the rows of the target.

    Args:
        periods: The periods whose rows were pruned in the source.
        is_new: See `Claims.is_new`. On a new day, all rows of the target come from calls of the target itself.
    """

    def __init__(self, periods: Sequence[tuple[float, float]], is_new: Callable[[float], bool]) -> None:
        self._periods = periods
        self._starts = [start for start, _ in periods]
        self._new = {start for start in self._starts if is_new(start)}
        self._sums: dict[tuple[Any, ...], LedgerRow] = {}
        self._copied: dict[tuple[Any, ...], dict[str, int]] = {}

    def has_period(self, at: float) -> bool:
        """Return whether the moment *at* is in a pruned period."""
        place = bisect_right(self._starts, at) - 1
        return place >= 0 and at < self._periods[place][1]

    def add_copied(self, row: LedgerRow) -> None:
        """Count a row or a sum of the target that is part of a sum in the source."""
        if not self.has_period(row.at):
            return
        start = self._starts[bisect_right(self._starts, row.at) - 1]
        if start not in self._new:
            amounts = self._copied.setdefault(_identify(row, start), dict.fromkeys(SUM_AMOUNTS, 0))
            for name in SUM_AMOUNTS:
                amounts[name] += getattr(row, name) or 0

    def add_sum(self, row: LedgerRow) -> None:
        """Add a sum of the source. Sums with the same period and keys are added up."""
        key = _identify(row, row.at)
        known = self._sums.get(key)
        if known is not None:
            row = _change(row, {name: getattr(known, name) or 0 for name in SUM_AMOUNTS}, sign=1)
        self._sums[key] = row

    def list_missing(self) -> Iterator[LedgerRow]:
        """Yield the sums that the target lacks."""
        for key, row in self._sums.items():
            copied = self._copied.get(key)
            missing = row if copied is None else _change(row, copied, sign=-1)
            if missing.count > 0:
                yield missing


def _identify(row: LedgerRow, start: float) -> tuple[Any, ...]:
    return (start, row.cost is None, *(getattr(row, name) for name in SUM_KEYS))


def _change(row: LedgerRow, amounts: dict[str, int], *, sign: int) -> LedgerRow:
    values = {
        name: None if getattr(row, name) is None else getattr(row, name) + sign * amounts[name]
        for name in SUM_AMOUNTS
    }
    return msgspec.structs.replace(row, **values)
