"""The sums that replace pruned rows.

`LedgerProvider.prune` replaces the rows of each period by sums: one row for each combination of SUM_KEYS. A sum is a
`LedgerRow` whose `attempt` is SUM_ATTEMPT. Its `at` is the start of the period, and its `call` holds the period
as text: see `format_period`. Reports and budgets count a sum like the rows that the sum replaces.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from llmcore.support.ledger_rows import LedgerRow

__all__ = [
    "SUM_AMOUNTS",
    "SUM_ATTEMPT",
    "SUM_KEYS",
    "format_period",
    "list_edges",
    "make_sums",
    "parse_period",
]

SUM_ATTEMPT: Final = -1
"""`LedgerRow.attempt` of a sum."""
SUM_KEYS: Final = (
    "kind", "provider", "model", "served", "state", "uncertain", "estimated", "tier_asked", "tier", "error", "user",
    "tags", "cost_source",
)  # fmt: skip
"""The fields that are equal in a sum and in its rows. Rows with a cost and rows without one have separate sums."""
SUM_AMOUNTS: Final = (
    "count", "cost", "saved", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens",
    "cache_write_12h_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens",
    "image_output_tokens", "characters",
)  # fmt: skip
"""The fields that are added up. The other fields of a sum are empty."""
_DAY_S: Final = 86400


def list_edges(first: float, before: float, edges: Iterable[float] = ()) -> list[float]:
    """Return the edges of the periods that are summed, in ascending order.

    The first edge is the midnight in UTC at or before *first*, and the last edge is *before*. All edges are whole seconds.

    Args:
        first: The time of the oldest row.
        before: The time before which rows are pruned. A fraction of a second is dropped.
        edges: Further edges in seconds since 1970, such as the midnights of a time zone. Midnights in UTC are always
            edges, because budgets count by days in UTC.
    """
    start, end = int(first // _DAY_S) * _DAY_S, int(before)
    return sorted({*range(start, end, _DAY_S), *(int(edge) for edge in edges if start < edge < end), end})


def format_period(start: float, end: float) -> str:
    """Return a period as `LedgerRow.call` of its sums: "2026-11-25T00:00:00Z/2026-11-26T00:00:00Z"."""
    return "/".join(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (start, end))


def parse_period(text: str) -> tuple[float, float]:
    """Return the start and the end of a period that `format_period` has written."""
    start, _, end = text.partition("/")
    return datetime.fromisoformat(start).timestamp(), datetime.fromisoformat(end).timestamp()


def make_sums(rows: Iterable[LedgerRow], edges: Sequence[float]) -> list[LedgerRow]:
    """Return the sums of closed *rows* within the periods between *edges*, for ledgers without SQL."""
    found: dict[tuple[Any, ...], LedgerRow] = {}
    periods = list(pairwise(edges))
    for row in rows:
        period = periods[bisect_right(edges, row.at) - 1]
        key = (period, row.cost is None, *(getattr(row, name) for name in SUM_KEYS))
        known = found.get(key)
        amounts = {name: getattr(row, name) for name in SUM_AMOUNTS}
        if known is not None:
            amounts = {name: _add(getattr(known, name), value) for name, value in amounts.items()}
        found[key] = LedgerRow(
            at=float(period[0]),
            call=format_period(*period),
            attempt=SUM_ATTEMPT,
            **{name: getattr(row, name) for name in SUM_KEYS},
            **amounts,
        )
    return list(found.values())


def _add(left: int | None, right: int | None) -> int | None:
    return left if right is None else right if left is None else left + right
