"""Questions to the ledger: one aggregation behind every figure that is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.ledger.budgets import period_of, scope_in
from llmcore.ledger.money import usd

if TYPE_CHECKING:
    import apsw

__all__ = ["GROUPS", "BudgetState", "UsageRow", "aggregated", "budget_states", "exported", "pruned"]

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
"""What can be asked for, and how SQL says it; times are in UTC."""

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
    """What one day, model, user, ... used."""

    name: str
    requests: int
    """That were sent to a backend, each attempt counted."""
    failures: int
    cached: int
    """Calls that the cache answered."""
    unsettled: int
    """Requests under way, and those whose process died."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """Part of `input_tokens`."""
    reasoning_tokens: int
    """Part of `output_tokens`."""
    characters: int
    """That were spoken."""
    cost: Decimal
    """USD of the requests that were answered at a known price."""
    uncertain: Decimal
    """USD at most, beside `cost`, of the requests whose end nobody told. Budgets count both."""
    saved: Decimal
    """USD that the cache saved."""
    unpriced: int
    """Requests at an unknown price, of which nothing is in `cost`."""


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """What one budget has come to in its current period."""

    name: str
    period: str
    unit: str
    """USD, or characters."""
    limit: Decimal | None
    """In `unit`, as all amounts; None for a budget that somebody else configured."""
    spent: Decimal
    reserved: Decimal
    """For requests under way."""
    resets_at: str | None


def aggregated(db: apsw.Connection, group: str, since: float, until: float) -> list[UsageRow]:
    """Return the sums by *group*, one of GROUPS, over rows from *since* to before *until*, in seconds since 1970."""
    by = GROUPS[group]
    source = "calls LEFT JOIN json_each(calls.tags) AS tag" if group == "tag" else "calls"
    where = " AND error IS NOT NULL" if group == "error" else ""
    rows = db.execute(
        f"SELECT {by}, {_SUMS} FROM {source} WHERE calls.id >= ? AND at >= ? AND at < ?{where} GROUP BY 1 ORDER BY 1",  # noqa: S608 - constants
        (int(since * 1e6), since, until),
    )
    return [_row(*row) for row in rows]


def _row(name: str, *sums: Any) -> UsageRow:
    *counts, cost, uncertain, saved, unpriced = sums
    fields = ("requests", "failures", "cached", "unsettled", "input_tokens", "output_tokens", "cached_tokens",
              "reasoning_tokens", "characters")  # fmt: skip
    return UsageRow(
        name=name,
        **dict(zip(fields, counts, strict=True)),
        cost=usd(cost),
        uncertain=usd(uncertain),
        saved=usd(saved),
        unpriced=unpriced,
    )


def budget_states(db: apsw.Connection, at: float) -> Iterator[tuple[str, str, int, int]]:
    """Yield scope, period, spent and reserved of every budget of the current periods: nano-dollars, or characters."""
    rows = db.execute("SELECT scope, period, spent, reserved FROM budgets ORDER BY scope")
    for scope, period, spent, reserved in rows:
        if period == period_of(scope_in(scope).per, at):
            yield scope, period, spent, reserved


def exported(db: apsw.Connection, since: float, until: float, *, where: str = "") -> Iterator[dict[str, Any]]:
    """Yield the rows as they stand, money in USD as text so that no digit is lost."""
    rows = db.execute(
        f"SELECT * FROM calls WHERE id >= ? AND at >= ? AND at < ? {where} ORDER BY id",  # noqa: S608 - constants
        (int(since * 1e6), since, until),
    )
    names: list[str] | None = None
    for row in rows:
        names = names or [column[0] for column in rows.get_description()]
        told = dict(zip(names, row, strict=True))
        for name in _MONEY:
            if told[name] is not None:
                told[name] = f"{usd(told[name]):f}"
        told["tags"] = json.loads(told["tags"]) if told["tags"] else []
        yield told


def pruned(db: apsw.Connection, before: float) -> int:
    """Delete settled rows from before *before*; what budgets have counted stays counted. Return how many."""
    db.execute("DELETE FROM calls WHERE at < ? AND state <> 'open'", (before,))
    return db.changes()
