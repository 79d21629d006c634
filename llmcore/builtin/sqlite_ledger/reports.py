"""Sums of rows by dimensions; see `LedgerProvider.aggregate`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from llmcore.builtin.sqlite_ledger.day_sums import sum_with_kept_days
from llmcore.support.ledger_rows import ReportQuery, ReportRow, RowQuery

if TYPE_CHECKING:
    import apsw

__all__ = ["aggregate", "make_where"]

_SUMS: Final = """
    sum(CASE WHEN state <> 'hit' THEN count ELSE 0 END), sum(CASE WHEN state = 'failed' THEN count ELSE 0 END),
    sum(CASE WHEN state = 'hit' THEN count ELSE 0 END), sum(CASE WHEN state IN ('open', 'lost') THEN count ELSE 0 END),
    sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(reasoning_tokens),
    sum(CASE WHEN state = 'open' OR uncertain THEN 0 ELSE characters END),
    ifnull(sum(CASE WHEN NOT uncertain THEN cost END), 0), ifnull(sum(CASE WHEN uncertain THEN cost END), 0),
    ifnull(sum(saved), 0),
    sum(CASE WHEN state IN ('done', 'lost') AND cost IS NULL THEN count ELSE 0 END)
"""
_PERCENTILES: Final = ", ".join(
    f"percentile({column}, {percent})" for column in ("latency_ms", "first_token_ms") for percent in (50, 95)
)
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


def aggregate(db: apsw.Connection, query: ReportQuery, kept: Path) -> list[ReportRow]:
    """See `LedgerProvider.aggregate`; *kept* is the file for the sums of finished days."""
    found = sum_with_kept_days(db, query, partial(_sum_rows, db), kept)
    rows = _sum_rows(db, query) if found is None else found
    size, none = len(query.dimensions), (None,) * 4
    percentiles: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    if query.percentiles:
        selected = _select(db, query, _PERCENTILES, "state = 'done' AND attempt <> -1")
        percentiles = {row[:size]: row[size:] for row in selected}
    return [ReportRow(*(row[:size], *row[size:], percentiles.get(row[:size], none))) for row in rows]


def _sum_rows(db: apsw.Connection, query: ReportQuery) -> list[tuple[Any, ...]]:
    """Return the values of the dimensions and the sums of `_SUMS`, sorted by the dimensions."""
    return _select(db, query, _SUMS, "1")


def _select(db: apsw.Connection, query: ReportQuery, sums: str, condition: str) -> list[tuple[Any, ...]]:
    columns = _make_columns(query)
    where, values = make_where(query)
    where.append(condition)
    if "error" in query.dimensions:
        where.append("error IS NOT NULL")
    source = "calls LEFT JOIN json_each(calls.tags) AS tag" if "tag" in query.dimensions else "calls"
    numbers = ", ".join(str(number + 1) for number in range(len(columns)))
    rows: list[tuple[Any, ...]] = db.execute(
        f"SELECT {', '.join(columns)}, {sums} FROM {source} WHERE {' AND '.join(where)} GROUP BY {numbers} ORDER BY {numbers}",  # noqa: S608 - constants
        values,
    ).fetchall()
    return rows


def make_where(query: ReportQuery | RowQuery) -> tuple[list[str], list[Any]]:
    """Return the SQL conditions of the rows, and their parameters."""
    # `id` is an index for `at`: an id is never smaller than the time of its row.
    conditions = ["calls.id >= ?", "at >= ?", "at < ?"]
    values: list[Any] = [max(int(query.since * 1e6), 0), query.since, query.until]
    for name, value in query.filters.items():
        conditions.append(_FILTERS[name])
        values.append(value)
    return conditions, values


def _make_columns(query: ReportQuery) -> list[str]:
    *changes, (_, first) = query.offsets
    offset = str(int(first))
    if changes:
        arms = " ".join(f"WHEN at >= {int(at)} THEN {int(value)}" for at, value in changes)
        offset = f"CASE {arms} ELSE {offset} END"
    local = f"(CAST(at AS INTEGER) + {offset})"
    day = f"({local} / 86400)"
    times = {
        "hour": f"{local} / 3600 * 3600 - {offset}",
        "day": day,
        "week": f"({day} + 3) / 7",
        "month": f"strftime('%Y-%m', {day} * 86400, 'unixepoch')",
    }
    return [times.get(name) or _COLUMNS[name] for name in query.dimensions]
