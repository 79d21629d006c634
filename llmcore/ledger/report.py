"""Reports from the ledger (known cost, uncertain cost, hits).

One aggregation for every figure of `llmcore usage` and `core.usage`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.ledger.budgets import get_period, parse_scope
from llmcore.ledger.money import from_nano

if TYPE_CHECKING:
    import apsw

__all__ = ["GROUPS", "BudgetState", "UsageRow", "aggregate", "export_rows", "prune_rows", "read_budgets"]

GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "total": "'all'",
        "day": "strftime('%Y-%m-%d', at, 'unixepoch')",
        "month": "strftime('%Y-%m', at, 'unixepoch')",
        "model": "provider || ':' || model",
        "provider": "provider",
        "kind": "kind",
        "user": "ifnull(user, '')",
        "tag": "ifnull(tag.value, '')",
        "error": "error",
    }
)
"""The groups and their SQL expressions; times are in UTC."""

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


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one day, model, user, ..."""

    name: str
    requests: int
    """The number of requests to a backend. Each attempt counts."""
    failures: int
    cached: int
    """The number of calls that the cache answered."""
    unsettled: int
    """The number of requests that are in progress, or whose process died."""
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
    """The number of requests at an unknown price. They are not in `cost`."""


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one budget in its current period."""

    name: str
    period: str
    unit: str
    """USD, or characters."""
    limit: Decimal | None
    """The limit in `unit`; None for a budget that only another application has configured.

    All amounts are in `unit`.
    """
    spent: Decimal
    reserved: Decimal
    """For requests in progress."""
    resets_at: str | None


def aggregate(db: apsw.Connection, group: str, since: float, until: float) -> list[UsageRow]:
    """Return the sums by *group*, one of GROUPS, over rows with *since* <= time < *until*, in seconds since 1970."""
    by = GROUPS[group]
    source = "calls LEFT JOIN json_each(calls.tags) AS tag" if group == "tag" else "calls"
    where = " AND error IS NOT NULL" if group == "error" else ""
    rows = db.execute(
        f"SELECT {by}, {_SUMS} FROM {source} WHERE calls.id >= ? AND at >= ? AND at < ?{where} GROUP BY 1 ORDER BY 1",  # noqa: S608 - constants
        (int(since * 1e6), since, until),
    )
    return [_make_row(*row) for row in rows]


def _make_row(name: str, *sums: Any) -> UsageRow:
    *counts, cost, uncertain, saved, unpriced = sums
    fields = ("requests", "failures", "cached", "unsettled", "input_tokens", "output_tokens", "cached_tokens",
              "reasoning_tokens", "characters")  # fmt: skip
    return UsageRow(
        name=name,
        **dict(zip(fields, counts, strict=True)),
        cost=from_nano(cost),
        uncertain=from_nano(uncertain),
        saved=from_nano(saved),
        unpriced=unpriced,
    )


def read_budgets(db: apsw.Connection, at: float) -> Iterator[tuple[str, str, int, int]]:
    """Yield scope, period, spent and reserved of every budget in its current period, in nano-dollars or characters."""
    rows = db.execute("SELECT scope, period, spent, reserved FROM budgets ORDER BY scope")
    for scope, period, spent, reserved in rows:
        if period == get_period(parse_scope(scope).per, at):
            yield scope, period, spent, reserved


def export_rows(
    db: apsw.Connection, since: float, until: float, *, where: str = ""
) -> Iterator[dict[str, Any]]:
    """Yield the rows; amounts of money are USD as text, to keep every digit."""
    rows = db.execute(
        f"SELECT * FROM calls WHERE id >= ? AND at >= ? AND at < ? {where} ORDER BY id",  # noqa: S608 - constants
        (int(since * 1e6), since, until),
    )
    names: list[str] | None = None
    for row in rows:
        names = names or [column[0] for column in rows.get_description()]
        record = dict(zip(names, row, strict=True))
        for name in _MONEY:
            if record[name] is not None:
                record[name] = f"{from_nano(record[name]):f}"
        record["tags"] = json.loads(record["tags"]) if record["tags"] else []
        yield record


def prune_rows(db: apsw.Connection, before: float) -> int:
    """Delete the settled rows older than *before*; return their number.

    The counters of budgets keep their sums.
    """
    db.execute("DELETE FROM calls WHERE at < ? AND state <> 'open'", (before,))
    return db.changes()
