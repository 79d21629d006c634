"""Prune a ledger by days, and check that a report does not divide a pruned day. Only the sums of such a day remain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from llmcore.errors import LedgerError
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.ledger.operations import Operations
from llmcore.ledger.query import UsageQuery
from llmcore.ledger.zones import ReportZone
from llmcore.support.ledger_rows import ReportQuery

__all__ = ["check_answerable", "prune"]

Period = tuple[float, float]
"""The start and the end of a period whose rows were pruned, in seconds since 1970."""
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


def prune(operations: Operations, before: float, zone: ReportZone) -> int:
    """Replace the closed rows older than *before* by sums of days in UTC and in *zone*.

    Return the number of rows that were replaced.
    """
    days = operations.run("aggregate", ReportQuery(dimensions=("day",), until=before), LOCK_TIMEOUT_S)
    if not days:
        return 0
    before = min(before, float((days[-1].key[0] + 1) * _DAY_S))
    edges = _list_midnights(zone, days[0].key[0] * _DAY_S, before)
    pruned: int = operations.run("prune", before, LOCK_TIMEOUT_S, edges)
    return pruned


def _list_midnights(zone: ReportZone, start: float, end: float) -> list[float]:
    day, midnights = zone.find_date(start), []
    while (midnight := zone.find_start(day)) < end:
        midnights.append(midnight)
        day += timedelta(days=1)
    return midnights


def check_answerable(query: UsageQuery, periods: Sequence[Period]) -> None:
    """Check that the report divides none of *periods*. Only the sums of these periods exist.

    Raises:
        LedgerError: A bound or a dimension of the report divides a period.
    """
    for start, end in periods:
        if end <= query.since or start >= query.until:
            continue
        if start < query.since or end > query.until:
            bound = "since" if start < query.since else "until"
            cut = query.since if bound == "since" else query.until
            raise _make_error(f"`{bound}` {_format(cut)} divides a pruned day", start, end, bound)
        for name in query.dimensions:
            find = _DIVISIONS.get(name)
            if find is not None and find(query.zone, start) != find(query.zone, end - 1):
                what = "hours" if name == "hour" else f"{name}s in {query.zone.name}"
                raise _make_error(f"{what} divide a pruned day", start, max(each[1] for each in periods), "")


def _make_error(what: str, start: float, end: float, bound: str) -> LedgerError:
    if bound:
        expected = f"{_format(start)} or {_format(end)}"
        fix = f"{bound}={_format(end if bound == 'since' else start)!r}"
    else:
        expected = f"since {_format(end)} or later; days in UTC and in the zone of `usage prune` are exact"
        fix = f"since={_format(end)!r}"
    return LedgerError(
        f"{what}: `usage prune` has kept only the sums of whole days",
        where=f"{_format(start)} to {_format(end)}",
        expected=expected,
        fix=fix,
    )


def _format(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _find_hour(zone: ReportZone, at: float) -> float:
    return (at + zone.get_offset(at)) // _HOUR_S


def _find_day(zone: ReportZone, at: float) -> date:
    return zone.find_date(at)


def _find_week(zone: ReportZone, at: float) -> Any:
    return zone.find_date(at).isocalendar()[:2]


def _find_month(zone: ReportZone, at: float) -> Any:
    day = zone.find_date(at)
    return day.year, day.month


_DIVISIONS: Final[dict[str, Callable[[ReportZone, float], Any]]] = {
    "hour": _find_hour,
    "day": _find_day,
    "week": _find_week,
    "month": _find_month,
}
"""Dimension -> the function that finds the hour, day, week or month of a moment."""
