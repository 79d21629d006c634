"""A ledger and the bill of its vendor from one list of made-up calls, with the true cause of each difference."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from llmcore_testing.simulator import Charge

__all__ = ["PRICES", "Books", "compute_price", "make_books"]

PRICES: Final[Mapping[str, Mapping[str, int]]] = {
    "model-a-2026-08-01": {"input": 250, "cached_input": 25, "cache_write": 313, "output": 2000},
    "model-b": {"input": 1250, "cached_input": 125, "cache_write": 1563, "output": 10_000},
}
"""Model -> kind -> nano-dollars a token."""
_DAY_S: Final = 86_400
_MAXIMUM: Final = {"input": 4000, "output": 2000}
"""The most tokens of a call."""


@dataclass
class Books:
    """What both sides have written down, and why they differ."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the ledger, for `add_rows`."""
    charges: list[Charge] = field(default_factory=list)
    """Charges of the vendor, for `Simulator.bill`."""
    truth: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """Cause -> USD, as billed less booked."""
    counts: Counter[str] = field(default_factory=Counter)


def compute_price(model: str, tokens: Mapping[str, int], factor: Decimal = Decimal(1)) -> dict[str, Decimal]:
    """Return kind -> USD for *tokens* of *model*."""
    return {
        kind: Decimal(count * PRICES[model][kind]).scaleb(-9) * factor
        for kind, count in tokens.items()
        if count
    }


def make_books(
    count: int,
    start: float,
    *,
    days: int = 3,
    provider: str = "openai",
    cancelled: float = 0.01,
    lost: float = 0.01,
    others: float = 0.02,
    late: float = 0.0,
    factor: Decimal = Decimal(1),
    seed: int = 1,
) -> Books:
    """Make *count* calls in *days* UTC days from *start*.

    Args:
        count: The number of calls.
        start: Seconds since 1970, at midnight in UTC.
        days: The number of days.
        provider: The provider of the rows.
        cancelled: The share of cancelled calls; the vendor bills half of them for what it has done.
        lost: The share of calls whose process was killed; the vendor bills all of them.
        others: The share of calls of another client, with another key.
        late: The share of calls that the vendor has not counted yet.
        factor: The vendor's price, relative to that of the ledger.
        seed: Seeds the calls.
    """
    pick, books = random.Random(seed), Books()  # noqa: S311 - no secret
    for number in range(count):
        model = pick.choice(list(PRICES))
        at = start + pick.random() * (days * _DAY_S - 60)
        cached = pick.randrange(500) if pick.random() < 0.3 else 0
        tokens = {"input": pick.randrange(1, 3000), "cached_input": cached, "output": pick.randrange(1, 1500)}
        costs = compute_price(model, tokens, factor)
        charge = Charge(at=at, model=model, tokens=tokens, costs=costs)
        own, billed = compute_price(model, tokens), sum(costs.values(), Decimal(0))
        row: dict[str, Any] = {
            "at": at, "call": f"c{number}", "attempt": 1, "kind": "llm", "provider": provider,
            "model": model.removesuffix("-2026-08-01"), "latency_ms": 1000.0,
        }  # fmt: skip
        name = _choose(pick.random(), {"other_keys": others, "cancelled": cancelled, "lost": lost})
        books.counts[name] += 1
        if name == "other_keys":
            books.charges.append(replace(charge, key="key_2"))
            books.truth[name] += billed
        elif name in {"cancelled", "lost"}:
            most = sum(compute_price(model, _MAXIMUM).values(), Decimal(0))
            state = {"state": "failed", "error": "cancelled"} if name == "cancelled" else {"state": "lost"}
            books.rows.append(row | state | {"uncertain": 1, "cost": int(most.scaleb(9))})
            is_billed = name == "lost" or pick.random() < 0.5
            if is_billed:
                books.charges.append(charge)
            books.truth[name] += (billed if is_billed else 0) - most
        else:
            cost = sum(own.values(), Decimal(0))
            books.rows.append(
                row | {"state": "done", "served": model, "cost": int(cost.scaleb(9).to_integral_value(ROUND_CEILING)),
                       "input_tokens": tokens["input"] + cached, "cached_tokens": cached,
                       "output_tokens": tokens["output"], "cost_source": "provider"}
            )  # fmt: skip
            if pick.random() < late:
                books.truth["late"] -= billed
            else:
                books.charges.append(charge)
            books.truth["price"] += billed - cost
    return books


def _choose(number: float, shares: Mapping[str, float]) -> str:
    """Return the name whose share *number*, from 0 to 1, falls into; "answered" for the rest."""
    for name, share in shares.items():
        number -= share
        if number < 0:
            return name
    return "answered"
