"""The query of a report: dimensions, bounds, filters, and their SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from llmcore.errors import LedgerError
from llmcore.ledger.zones import ReportZone

__all__ = ["GROUPS", "Filters", "UsageQuery", "make_query"]

GROUPS: Final = (
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

_EPOCH: Final = date(1970, 1, 1).toordinal()
_IS_KEY: Final = "user IN (SELECT name FROM keys)"
_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "total": "'all'",
        "model": "provider || ':' || model",
        "provider": "provider",
        "kind": "kind",
        "user": "ifnull(user, '')",
        "key": f"CASE WHEN {_IS_KEY} THEN user ELSE '' END",
        "tag": "ifnull(tag.value, '')",
        "error": "error",
    }
)
"""Dimension -> SQL expression. Dimensions of time depend on the zone."""
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kind": "kind = ?",
        "provider": "provider = ?",
        "model": "? IN (provider || ':' || model, model)",
        "user": "ifnull(user, '') = ?",
        "key": f"(user = ? AND {_IS_KEY})",
        "tag": "EXISTS (SELECT 1 FROM json_each(ifnull(nullif(tags, '[]'), '[\"\"]')) WHERE value = ?)",
        "error": "error = ?",
    }
)
"""Filter -> SQL condition with one parameter."""

Filters = Mapping[str, str | None]
"""Name of a filter -> the value that a row must have; None for no filter."""


class UsageQuery(NamedTuple):
    """One report: which rows, and how they are summed."""

    dimensions: tuple[str, ...]
    since: float
    """Seconds since 1970, as `until`, which is exclusive."""
    until: float
    zone: ReportZone
    filters: Filters = MappingProxyType({})
    percentiles: bool = False
    """Whether the percentiles of latency and time to first token are computed."""

    @property
    def source(self) -> str:
        """The tables. A call with two tags is two rows of the source if the tag is a dimension."""
        return "calls LEFT JOIN json_each(calls.tags) AS tag" if "tag" in self.dimensions else "calls"

    def make_where(self) -> tuple[str, Sequence[Any]]:
        """Return the SQL condition of the rows, and its parameters."""
        # `id` is the index of `at`; it may be larger than `at`, never smaller.
        conditions = ["calls.id >= ?", "at >= ?", "at < ?"]
        values: list[Any] = [max(int(self.since * 1e6), 0), self.since, self.until]
        for name, value in self.filters.items():
            if value is not None:
                conditions.append(_FILTERS[name])
                values.append(value)
        if "error" in self.dimensions:
            conditions.append("error IS NOT NULL")
        return " AND ".join(conditions), values

    def make_columns(self, last: float) -> list[str]:
        """Return the SQL expression of each dimension; *last* is the time of the last row."""
        if not {"hour", "day", "week", "month"}.intersection(self.dimensions):
            return [_COLUMNS[name] for name in self.dimensions]
        offset, local = self.zone.make_local_sql(self.since, min(self.until, last))
        day = f"({local} / 86400)"
        times = {
            "hour": f"{local} / 3600 * 3600 - {offset}",
            "day": day,
            "week": f"({day} + 3) / 7",
            "month": f"strftime('%Y-%m', {day} * 86400, 'unixepoch')",
        }
        return [times.get(name) or _COLUMNS[name] for name in self.dimensions]

    def make_labels(self) -> list[Callable[[Any], str]]:
        """Return the function of each dimension that turns a value of SQL into text."""
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
        if name not in GROUPS:
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

    nearest = get_close_matches(str(name), GROUPS, 1)
    return LedgerError(
        f"unknown group `{name}`",
        where="argument `group`",
        expected=", ".join(GROUPS),
        suggestion=nearest[0] if nearest else None,
        fix=f'usage.by("{nearest[0]}")' if nearest else None,
    )


def _format_day(day: int) -> str:
    return date.fromordinal(_EPOCH + day).isoformat()


def _format_week(week: int) -> str:
    """Return the ISO week; *week* is the number of Mondays since 1970."""
    year, number, _ = date.fromordinal(_EPOCH + week * 7 - 3).isocalendar()
    return f"{year}-W{number:02}"
