"""Sums of rows by dimensions; see `LedgerProvider.aggregate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from llmcore.builtin.sqlite_ledger.day_latencies import LATENCY_COLUMNS
from llmcore.builtin.sqlite_ledger.day_sums import Kept, Rows
from llmcore.support.ledger_rows import ReportQuery, ReportRow, RowQuery

if TYPE_CHECKING:
    import apsw

__all__ = ["aggregate", "make_kept", "make_where"]

_SUMS: Final = """
    sum(CASE WHEN state <> 'hit' THEN count ELSE 0 END), sum(CASE WHEN state = 'failed' THEN count ELSE 0 END),
    sum(CASE WHEN state = 'hit' THEN count ELSE 0 END), sum(CASE WHEN state IN ('open', 'lost') THEN count ELSE 0 END),
    sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(reasoning_tokens),
    sum(CASE WHEN state = 'open' OR uncertain THEN 0 ELSE characters END),
    ifnull(sum(CASE WHEN NOT uncertain THEN cost END), 0), ifnull(sum(CASE WHEN uncertain THEN cost END), 0),
    ifnull(sum(saved), 0),
    sum(CASE WHEN state IN ('done', 'lost') AND cost IS NULL THEN count ELSE 0 END)
"""
_ANSWERED: Final = "state = 'done' AND attempt <> -1"
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
"""Dimension -> SQL expression. `_make_columns` adds hour, day, week and month, which depend on the time zone."""
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


_ID_STEP: Final = 86_400_000_000
"""The number of ids in a day: ids are microseconds. Rows are grouped day by day, which is faster than all at once."""


def aggregate(db: apsw.Connection, query: ReportQuery, path: Path) -> list[ReportRow]:
    """See `LedgerProvider.aggregate`; *path* is the file for the sums of finished days."""
    kept = make_kept(db, path)
    found = kept.sum(query)
    rows = _sum_rows(db, query) if found is None else found
    size, none = len(query.dimensions), (None,) * 4
    percentiles: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    if query.percentiles:
        measured = kept.find_percentiles(query)
        percentiles = _find_percentiles(db, query) if measured is None else measured
    return [ReportRow(*(row[:size], *row[size:], percentiles.get(row[:size], none))) for row in rows]


def make_kept(db: apsw.Connection, path: Path) -> Kept:
    """Return the stored sums of the ledger *db*, which are in the file *path*."""
    rows = Rows(partial(_sum_rows, db), partial(_sum_days, db), partial(_read_latencies, db))
    return Kept(db, rows, path)


def _sum_rows(db: apsw.Connection, query: ReportQuery) -> list[tuple[Any, ...]]:
    """Return the values of the dimensions and the sums of `_SUMS`, sorted by the dimensions."""
    return _select(db, query, _SUMS, "1")


def _find_percentiles(db: apsw.Connection, query: ReportQuery) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    size = len(query.dimensions)
    rows = _select(db, query, _PERCENTILES, _ANSWERED)
    return {row[:size]: row[size:] for row in rows}


def _sum_days(db: apsw.Connection, columns: Sequence[str], query: ReportQuery) -> Iterator[tuple[Any, ...]]:
    """Yield the day, the values of *columns* and the sums, for each range of ids."""
    (day,) = _make_columns(query)
    names = ", ".join([day, *columns])
    where, values = make_where(query)
    numbers = ", ".join(str(number + 1) for number in range(len(columns) + 1))
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    statement = f"SELECT {names}, {_SUMS} FROM calls WHERE id >= ? AND id < ? AND {' AND '.join(where)} GROUP BY {numbers}"  # noqa: S608 - only constants are inserted
    first = values[0]
    for start in range(first, last + 1, _ID_STEP):
        yield from db.execute(statement, (start, start + _ID_STEP, *values))


def _read_latencies(db: apsw.Connection, query: ReportQuery) -> Iterator[tuple[Any, ...]]:
    """Yield the day, kind, provider, model, latency and time to first token of the answered requests."""
    (day,) = _make_columns(replace(query, dimensions=("day",)))
    where, values = make_where(replace(query, filters={}))
    where.append(_ANSWERED)
    names = ", ".join((*LATENCY_COLUMNS, "latency_ms", "first_token_ms"))
    yield from db.execute(f"SELECT {day}, {names} FROM calls WHERE {' AND '.join(where)}", values)  # noqa: S608 - only constants are inserted


def _select(db: apsw.Connection, query: ReportQuery, sums: str, condition: str) -> list[tuple[Any, ...]]:
    columns = _make_columns(query)
    where, values = make_where(query)
    where.append(condition)
    if "error" in query.dimensions:
        where.append("error IS NOT NULL")
    source = "calls LEFT JOIN json_each(calls.tags) AS tag" if "tag" in query.dimensions else "calls"
    numbers = ", ".join(str(number + 1) for number in range(len(columns)))
    rows: list[tuple[Any, ...]] = db.execute(
        f"SELECT {', '.join(columns)}, {sums} FROM {source} WHERE {' AND '.join(where)} GROUP BY {numbers} ORDER BY {numbers}",  # noqa: S608 - only constants are inserted
        values,
    ).fetchall()
    return rows


def make_where(query: ReportQuery | RowQuery) -> tuple[list[str], list[Any]]:
    """Return the SQL conditions of the rows, and their parameters."""
    # The condition on `id`, the primary key, lets SQLite skip older rows. It excludes no row that the others select: an id
    # is at least the time of its row in microseconds.
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
