"""Reports from the ledger: known cost, uncertain cost, and hits.

All figures of `llmcore usage`, `core.usage` and the dashboard come from one function, `aggregate`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.ledger.day_sums import sum_with_kept_days
from llmcore.ledger.query import UsageQuery
from llmcore.support.money import from_nano

if TYPE_CHECKING:
    import apsw

__all__ = [
    "BudgetState",
    "UsageRow",
    "aggregate",
    "export_rows",
    "read_latest",
    "sum_rows",
]

_MONEY: Final = frozenset({"cost", "saved", "reserved"})

_SUMS: Final = """
    sum(CASE WHEN state <> 'hit' THEN count ELSE 0 END), sum(CASE WHEN state = 'failed' THEN 1 ELSE 0 END),
    sum(CASE WHEN state = 'hit' THEN count ELSE 0 END), sum(CASE WHEN state IN ('open', 'lost') THEN 1 ELSE 0 END),
    sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(reasoning_tokens),
    sum(CASE WHEN state = 'open' OR uncertain THEN 0 ELSE characters END),
    ifnull(sum(CASE WHEN NOT uncertain THEN cost END), 0), ifnull(sum(CASE WHEN uncertain THEN cost END), 0),
    ifnull(sum(saved), 0),
    sum(CASE WHEN state IN ('done', 'lost') AND cost IS NULL THEN 1 ELSE 0 END)
"""
_PERCENTILES: Final = ", ".join(
    f"percentile({column}, {percent})" for column in ("latency_ms", "first_token_ms") for percent in (50, 95)
)


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one group, such as a day, a model or a user."""

    name: str
    """The parts of `key`, joined by " / "."""
    key: tuple[str, ...] = ()
    """The value of each dimension: `("2026-11-25", "openai:gpt-5.6-luna")`.

    Empty text means calls without a user, an API key or tags. An hour includes its offset from UTC. A week has the form of
    ISO 8601: "2026-W48".
    """
    requests: int
    """The number of requests to a backend. Each attempt counts."""
    failures: int
    cached: int
    """The number of calls that the cache answered."""
    unsettled: int
    """The number of requests in progress, and of requests whose process died."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """Part of `input_tokens`."""
    reasoning_tokens: int
    """Part of `output_tokens`."""
    characters: int
    """Characters of synthesized text."""
    cost: Decimal
    """USD of the requests that were answered at a known price."""
    uncertain: Decimal
    """The maximum cost in USD of requests with an unknown outcome; not included in `cost`.

    Budgets count both amounts.
    """
    saved: Decimal
    """USD that the cache saved."""
    unpriced: int
    """The number of requests at an unknown price. `cost` does not include them."""
    latency_p50_ms: float | None = None
    """Median latency of the answered requests in milliseconds; None unless `percentiles` is true."""
    latency_p95_ms: float | None = None
    first_token_p50_ms: float | None = None
    """The same of the time to the first content, of the streamed answers."""
    first_token_p95_ms: float | None = None


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in its current period."""

    name: str
    period: str
    unit: str
    """USD, or characters."""
    limit: Decimal | None
    """The limit in `unit`, as are all amounts. None for a budget that only another application has configured."""
    spent: Decimal
    reserved: Decimal
    """For requests in progress."""
    resets_at: str | None
    pace: Decimal | None = None
    """The amount at the end of the period if spending continues as before.

    None for a total, and in the first hundredth of a period.
    """
    model: str | None = None
    """The budget counts only requests to this model, as `tag` and `user`; None for all."""
    tag: str | None = None
    user: str | None = None


def aggregate(db: apsw.Connection, query: UsageQuery, kept: Path | None = None) -> list[UsageRow]:
    """Return the sums of the rows that *query* selects, in the order of its dimensions.

    Args:
        db: The ledger.
        query: The dimensions, bounds and filters.
        kept: The file for sums of finished days; None always reads all rows.
    """
    found = None if kept is None else sum_with_kept_days(db, query, partial(_sum_rows, db), kept)
    rows = _sum_rows(db, query) if found is None else found
    percentiles = _read_percentiles(db, query) if query.percentiles else {}
    labels, size = query.make_labels(), len(query.dimensions)
    return [_make_row(labels, row, percentiles.get(row[:size])) for row in rows]


def _sum_rows(db: apsw.Connection, query: UsageQuery) -> list[tuple[Any, ...]]:
    """Return the values of the dimensions and the sums of `_SUMS`, sorted by the former."""
    return _select(db, query, _SUMS, "1")


def _read_percentiles(db: apsw.Connection, query: UsageQuery) -> dict[tuple[Any, ...], Sequence[Any]]:
    size = len(query.dimensions)
    return {row[:size]: row[size:] for row in _select(db, query, _PERCENTILES, "state = 'done'")}


def _select(db: apsw.Connection, query: UsageQuery, sums: str, condition: str) -> list[tuple[Any, ...]]:
    columns = query.make_columns(_read_last_moment(db))
    where, values = query.make_where()
    numbers = ", ".join(str(number + 1) for number in range(len(columns)))
    return db.execute(
        f"SELECT {', '.join(columns)}, {sums} FROM {query.source} WHERE {where} AND {condition} GROUP BY {numbers} ORDER BY {numbers}",  # noqa: S608 - constants
        values,
    ).fetchall()


def sum_rows(rows: Sequence[UsageRow], name: str = "total") -> UsageRow:
    """Return the sum of *rows*, without percentiles. The rows must not overlap, so sums by tag are not allowed."""
    fields = [*_COUNTS, "cost", "uncertain", "saved", "unpriced"]
    sums: dict[str, Any] = {field: sum(getattr(row, field) for row in rows) for field in fields}
    for field in ("cost", "uncertain", "saved"):
        sums[field] = Decimal(sums[field])
    return UsageRow(name=name, key=(name,), **sums)


_COUNTS: Final = (
    "requests",
    "failures",
    "cached",
    "unsettled",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "characters",
)


def _make_row(
    labels: Sequence[Callable[[Any], str]], row: Sequence[Any], percentiles: Sequence[Any] | None
) -> UsageRow:
    size, count = len(labels), len(_COUNTS)
    key = tuple(label(value) for label, value in zip(labels, row[:size], strict=True))
    counts, (cost, uncertain, saved, unpriced) = row[size : size + count], row[size + count :]
    latency_p50, latency_p95, first_token_p50, first_token_p95 = percentiles or (None,) * 4
    return UsageRow(
        name=" / ".join(key),
        key=key,
        **dict(zip(_COUNTS, counts, strict=True)),
        cost=from_nano(cost),
        uncertain=from_nano(uncertain),
        saved=from_nano(saved),
        unpriced=unpriced,
        latency_p50_ms=latency_p50,
        latency_p95_ms=latency_p95,
        first_token_p50_ms=first_token_p50,
        first_token_p95_ms=first_token_p95,
    )


def _read_last_moment(db: apsw.Connection) -> float:
    """Return a time that no row is later than, in seconds since 1970."""
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    return last / 1e6 + 1


def export_rows(
    db: apsw.Connection, query: UsageQuery, *, only_open: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the selected rows, oldest first. Amounts are USD as text, so that no digit is lost."""
    where, values = query.make_where()
    if only_open:
        where += " AND state IN ('open', 'lost')"
    rows = db.execute(f"SELECT * FROM calls WHERE {where} ORDER BY id", values)  # noqa: S608 - constants
    return _decode_rows(rows)


def read_latest(db: apsw.Connection, query: UsageQuery, limit: int) -> list[dict[str, Any]]:
    """Return the latest *limit* requests that *query* selects, newest first, without answers of the cache."""
    where, values = query.make_where()
    rows = db.execute(
        f"SELECT * FROM calls WHERE {where} AND state <> 'hit' ORDER BY id DESC LIMIT ?",  # noqa: S608 - constants
        [*values, limit],
    )
    return list(_decode_rows(rows))


def _decode_rows(rows: apsw.Cursor) -> Iterator[dict[str, Any]]:
    names: list[str] | None = None
    for row in rows:
        names = names or [column[0] for column in rows.get_description()]
        record = dict(zip(names, row, strict=True))
        for name in _MONEY:
            if record[name] is not None:
                record[name] = f"{from_nano(record[name]):f}"
        record["tags"] = json.loads(record["tags"]) if record["tags"] else []
        yield record
