"""Reports from the ledger: known cost, uncertain cost, and hits.

All figures of `llmcore usage`, `core.usage` and the dashboard come from one method, `LedgerProvider.aggregate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.ledger.query import UsageQuery
from llmcore.support.ledger_rows import LedgerRow, ReportRow
from llmcore.support.money import from_nano

__all__ = ["BudgetState", "UsageRow", "make_record", "make_rows", "sum_rows"]

_MONEY: Final = ("cost", "saved", "reserved")
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
    """The number of requests that ended in an error."""
    cached: int
    """The number of calls that the cache answered."""
    unsettled: int
    """The number of requests in progress, and of requests whose process died."""
    input_tokens: int
    """All input tokens, including cached tokens."""
    output_tokens: int
    """All output tokens, including reasoning."""
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
    """The latency that 95 % of the answered requests do not exceed, in milliseconds; None unless `percentiles` is true."""
    first_token_p50_ms: float | None = None
    """Median time to the first content of streamed answers in milliseconds; None unless `percentiles` is true."""
    first_token_p95_ms: float | None = None
    """The time to the first content that 95 % of the streamed answers do not exceed, in milliseconds; None unless `percentiles` is true."""


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in its current period."""

    name: str
    """The readable name of the budget: "day", "month openai:gpt-6-sol"."""
    period: str
    """The current period: 2026-11-25, 2026-11 or total."""
    unit: str
    """The unit of all amounts: "USD" or "characters"."""
    limit: Decimal | None
    """The limit in `unit`; None for a budget that only another application has configured."""
    spent: Decimal
    """The amount that is settled in the period."""
    reserved: Decimal
    """The amount that is reserved for requests in progress."""
    resets_at: str | None
    """The time at which the budget resets, ISO 8601 in UTC; None if the budget never resets."""
    pace: Decimal | None = None
    """The amount at the end of the period if spending continues as before.

    None for a budget without periods (a total), and in the first hundredth of a period.
    """
    model: str | None = None
    """The budget counts only requests to this model; None for all models."""
    tag: str | None = None
    """The budget counts only requests with this tag; None for all requests."""
    user: str | None = None
    """The budget counts only requests of this user; None for all users."""


def make_rows(query: UsageQuery, rows: Iterable[ReportRow]) -> list[UsageRow]:
    """Return the usage rows for the sums that a ledger has computed for *query*."""
    labels = query.make_labels()
    return [_make_row(labels, row) for row in rows]


def sum_rows(rows: Sequence[UsageRow], name: str = "total") -> UsageRow:
    """Return the sum of *rows*, without percentiles. The rows must not overlap, so sums by tag are not allowed."""
    fields = [*_COUNTS, "cost", "uncertain", "saved", "unpriced"]
    sums: dict[str, Any] = {field: sum(getattr(row, field) for row in rows) for field in fields}
    for field in ("cost", "uncertain", "saved"):
        sums[field] = Decimal(sums[field])
    return UsageRow(name=name, key=(name,), **sums)


def _make_row(labels: Sequence[Callable[[Any], str]], row: ReportRow) -> UsageRow:
    key = tuple(label(value) for label, value in zip(labels, row.key, strict=True))
    latency_p50, latency_p95, first_token_p50, first_token_p95 = row.percentiles
    return UsageRow(
        name=" / ".join(key),
        key=key,
        **{name: getattr(row, name) for name in _COUNTS},
        cost=from_nano(row.cost),
        uncertain=from_nano(row.uncertain),
        saved=from_nano(row.saved),
        unpriced=row.unpriced,
        latency_p50_ms=latency_p50,
        latency_p95_ms=latency_p95,
        first_token_p50_ms=first_token_p50,
        first_token_p95_ms=first_token_p95,
    )


def make_record(row: LedgerRow) -> dict[str, Any]:
    """Return a row for an export. Amounts of money are USD as text, which preserves every digit; flags are 0 or 1."""
    record = {name: getattr(row, name) for name in _EXPORTED}
    for name in _MONEY:
        if record[name] is not None:
            record[name] = f"{from_nano(record[name]):f}"
    record.update(uncertain=int(row.uncertain), estimated=int(row.estimated), tags=list(row.tags))
    return record


_LAST: Final = ("cost_source", "first_token_ms")
_EXPORTED: Final = (*(name for name in LedgerRow.__struct_fields__ if name not in _LAST), *_LAST)
"""The columns of an export. New columns are at the end, so that existing columns keep their positions."""
