"""Read reports: sums of rows by dimensions, and single rows page by page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from llmcore.support.ledger_rows import LedgerRow, ReportQuery, ReportRow, RowQuery

__all__ = ["iterate_rows", "make_aggregate", "make_report_row"]

_PAGE: Final = 1000
_EPOCH_S: Final = -62135596800
_NO_LEASE: Final = "NOT (kind = 'lease' AND state = 'open')"
"""Leaves out open leases, which are not requests. The lease of a dead process is not open: it is settled
as one row of uncertain cost, which reports count."""
_SUMS: Final = """
    sum(CASE WHEN state <> 'hit' THEN count ELSE 0 END)::bigint, coalesce(sum(count) FILTER (WHERE state = 'failed'), 0)::bigint,
    sum(CASE WHEN state = 'hit' THEN count ELSE 0 END)::bigint, coalesce(sum(count) FILTER (WHERE state IN ('open', 'lost')), 0)::bigint,
    sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cached_tokens)::bigint, sum(reasoning_tokens)::bigint,
    sum(CASE WHEN state = 'open' OR uncertain THEN 0 ELSE characters END)::bigint,
    coalesce(sum(cost) FILTER (WHERE NOT uncertain), 0)::bigint, coalesce(sum(cost) FILTER (WHERE uncertain), 0)::bigint,
    coalesce(sum(saved), 0)::bigint, coalesce(sum(count) FILTER (WHERE state IN ('done', 'lost') AND cost IS NULL), 0)::bigint
"""
_PERCENTILES: Final = ", ".join(
    f"percentile_cont({percent}) WITHIN GROUP (ORDER BY {column}) FILTER (WHERE state = 'done' AND attempt <> -1)"
    for column in ("latency_ms", "first_token_ms")
    for percent in (0.5, 0.95)
)
_COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "total": "'all'",
        "model": "provider || ':' || model",
        "provider": "provider",
        "kind": "kind",
        "user": "coalesce(\"user\", '')",
        "key": 'CASE WHEN "user" IN (SELECT name FROM {s}.keys) THEN "user" ELSE \'\' END',
        "tag": "coalesce(tag_name, '')",
        "error": "error",
    }
)
_FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kind": "kind = %s",
        "provider": "provider = %s",
        "model": "%s IN (provider || ':' || model, model)",
        "user": "coalesce(\"user\", '') = %s",
        "key": '("user" = %s AND "user" IN (SELECT name FROM {s}.keys))',
        "tag": "%s = ANY(CASE WHEN tags = '{}' THEN ARRAY[''] ELSE tags END)",
        "error": "error = %s",
    }
)
_FIELDS: Final = LedgerRow.__struct_fields__
_SELECTED: Final = ", ".join(f'"{name}"' for name in _FIELDS)


def make_aggregate(query: ReportQuery) -> tuple[str, list[Any]]:
    """Return the statement of a report and its parameters."""
    where, values = _make_where(query)
    where.append(_NO_LEASE)
    if "error" in query.dimensions:
        where.append("error IS NOT NULL")
    source = "{s}.calls"
    if "tag" in query.dimensions:
        source += " LEFT JOIN LATERAL unnest(tags) AS tag_name ON true"
    # Compare text by its bytes, as other ledgers do. The collation of the database may differ.
    columns = [f"{_make_column(name, query)}" for name in query.dimensions]
    numbers = ", ".join(str(number + 1) for number in range(len(columns)))
    sums = f"{_SUMS}, {_PERCENTILES}" if query.percentiles else _SUMS
    text = f"SELECT {', '.join(columns)}, {sums} FROM {source} WHERE {' AND '.join(where)} GROUP BY {numbers} ORDER BY {numbers}"  # noqa: S608 - only constants and integers are inserted
    return text, values


def make_report_row(values: Sequence[Any], dimensions: int) -> ReportRow:
    """Return the `ReportRow` of one row that the statement of `make_aggregate` selected.

    The first *dimensions* values are the dimensions.
    """
    size = len(ReportRow.__struct_fields__) - 2
    sums = values[dimensions:]
    return ReportRow(*(tuple(values[:dimensions]), *sums[:size], tuple(sums[size:]) or (None,) * 4))


def _make_column(name: str, query: ReportQuery) -> str:
    if name in _COLUMNS:
        return f'({_COLUMNS[name]}) COLLATE "C"'
    *changes, (_, first) = query.offsets
    offset = str(int(first))
    if changes:
        arms = " ".join(f"WHEN at >= {int(at)} THEN {int(value)}" for at, value in changes)
        offset = f"CASE {arms} ELSE {offset} END"
    local = f"(floor(at)::bigint + {offset})"
    day = f"({local} / 86400)"
    return {
        "hour": f"{local} / 3600 * 3600 - {offset}",
        "day": day,
        "week": f"({day} + 3) / 7",
        "month": f"to_char(to_timestamp({day} * 86400) AT TIME ZONE 'UTC', 'YYYY-MM')",
    }[name]


def iterate_rows(
    read: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], query: RowQuery
) -> Iterator[LedgerRow]:
    """Yield the rows page by page, so that no transaction is open while the caller works."""
    left = query.limit
    last: tuple[float, int] | None = None
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        where, values = _make_where(query)
        if query.states is not None:
            where.append("state = ANY(%s)")
            values.append(list(query.states))
        else:
            where.append(_NO_LEASE)
        if last is not None:
            where.append(f"(at, id) {'<' if query.newest_first else '>'} (%s, %s)")
            values.extend(last)
        order = "DESC" if query.newest_first else "ASC"
        text = f"SELECT {_SELECTED} FROM {{s}}.calls WHERE {' AND '.join(where)} ORDER BY at {order}, id {order} LIMIT {size}"  # noqa: S608 - only constants and integers are inserted
        page = [_decode(values) for values in read(text, values)]
        yield from page
        if len(page) < size:
            return
        last = page[-1].at, page[-1].id
        left = None if left is None else left - size


def _make_where(query: ReportQuery | RowQuery) -> tuple[list[str], list[Any]]:
    conditions = ["at >= %s"]
    values: list[Any] = [query.since]
    if query.since > 0:
        conditions.append("day >= %s")
        values.append(_get_day(query.since))
    if query.until < math.inf:
        conditions += ["at < %s", "day <= %s"]
        values += [query.until, _get_day(query.until)]
    for name, value in query.filters.items():
        conditions.append(_FILTERS[name])
        values.append(value)
    return conditions, values


def _get_day(at: float) -> date:
    at = min(max(at, _EPOCH_S), 253402300799)
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)).date()


def _decode(values: Sequence[Any]) -> LedgerRow:
    row = dict(zip(_FIELDS, values, strict=True))
    row["tags"] = tuple(row["tags"])
    return LedgerRow(**row)
