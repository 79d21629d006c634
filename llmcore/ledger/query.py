"""The query of a report: dimensions, bounds and filters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from llmcore.errors import LedgerError
from llmcore.ledger.zones import ReportZone
from llmcore.support.ledger_rows import ReportQuery, RowQuery

__all__ = ["Filters", "UsageQuery", "make_query"]

_GROUPS: Final = (
    "total",
    "hour",
    "day",
    "week",
    "month",
    "model",
    "provider",
    "kind",
    "user",
    "key",
    "tag",
    "error",
)
"""The dimensions of a report."""

_AHEAD_S: Final = 366 * 86400
"""How far into the future, in seconds, a report computes the offsets from UTC.

The ledger may have rows with a future time, which a wrong clock has written.
"""
_EPOCH: Final = date(1970, 1, 1).toordinal()
Filters = Mapping[str, str | None]
"""Name of a filter -> the value that a row must have; None for no filter."""


class UsageQuery(NamedTuple):
    """The query of one report: the rows to sum up, and the dimensions by which they are summed."""

    dimensions: tuple[str, ...]
    since: float
    """Seconds since 1970, inclusive. `until` has the same unit and is exclusive."""
    until: float
    zone: ReportZone
    filters: Filters = MappingProxyType({})
    percentiles: bool = False
    """True if the percentiles of latency and time to first token are computed."""

    def make_report_query(self) -> ReportQuery:
        """Return the query for `LedgerProvider.aggregate`."""
        # The offsets are needed even without a dimension of time: a ledger may add up stored sums of local days, and
        # must know when each day begins.
        offsets = self.zone.find_offsets(self.since, min(self.until, time.time() + _AHEAD_S))
        return ReportQuery(
            dimensions=self.dimensions,
            since=self.since,
            until=self.until,
            filters=self._get_filters(),
            offsets=tuple(offsets),
            percentiles=self.percentiles,
        )

    def make_row_query(self, **parts: Any) -> RowQuery:
        """Return the query for `LedgerProvider.iterate_rows`. *parts* are further fields of `RowQuery`."""
        return RowQuery(since=self.since, until=self.until, filters=self._get_filters(), **parts)

    def _get_filters(self) -> dict[str, str]:
        return {name: value for name, value in self.filters.items() if value is not None}

    def make_labels(self) -> list[Callable[[Any], str]]:
        """Return for each dimension the function that turns an SQL value into text."""
        labels = {"hour": self.zone.format_hour, "day": _format_day, "week": _format_week}
        return [labels.get(name, str) for name in self.dimensions]


def make_query(
    group: str | Sequence[str],
    since: float | None,
    until: float | None,
    zone: ReportZone,
    filters: Filters,
    *,
    percentiles: bool,
) -> UsageQuery:
    """Return the query of a report.

    Raises:
        LedgerError: A dimension is unknown or named twice.
    """
    dimensions = (group,) if isinstance(group, str) else tuple(group)
    for name in dimensions:
        if name not in _GROUPS:
            raise _make_group_error(name)
    if len({*dimensions}) < len(dimensions):
        raise LedgerError(
            f"a group is named twice: {', '.join(dimensions)}",
            where="argument `group`",
            expected='different names, such as ("day", "model")',
        )
    bounds = 0.0 if since is None else since, float("inf") if until is None else until
    return UsageQuery(dimensions or ("total",), *bounds, zone, filters, percentiles)


def _make_group_error(name: object) -> LedgerError:
    # imported only for an error, because the import takes longer than a cached answer
    from difflib import get_close_matches

    nearest = get_close_matches(str(name), _GROUPS, 1)
    return LedgerError(
        f"unknown group `{name}`",
        where="argument `group`",
        expected=", ".join(_GROUPS),
        suggestion=nearest[0] if nearest else None,
        fix=f'usage.by("{nearest[0]}")' if nearest else None,
    )


def _format_day(day: int) -> str:
    return date.fromordinal(_EPOCH + day).isoformat()


def _format_week(week: int) -> str:
    """Return the ISO week; *week* is the number of Mondays since 1970."""
    year, number, _ = date.fromordinal(_EPOCH + week * 7 - 3).isocalendar()
    return f"{year}-W{number:02}"
