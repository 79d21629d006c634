"""Compute the cost of a usage from the prices in genai-prices."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

from llmcore.types import Usage

__all__ = ["get_price"]

_MILLION: Final = 1_000_000
_PROCESSING: Final = {"batch": {"processing": "batch"}, "fast": {"service_tier": "fast"}}
_STANDARD: Final = frozenset({None, "standard", "standard_only", "auto"})

Steps: TypeAlias = tuple[tuple[int, Decimal], ...]
"""Pairs of a threshold (a number of input tokens) and a price, in ascending order; the first threshold is 0.

All tokens of a request have the price of the highest threshold that its input tokens exceed.
"""


class _Rates(NamedTuple):
    """USD for a million tokens of each kind; None if the price is not known."""

    input: Steps | None
    output: Steps | None
    read: Steps | None
    write: Steps | None
    write_hour: Steps | None


def get_price(
    model: str, usage: Usage, service_tier: str | None = None, at: datetime | None = None
) -> Decimal | None:
    """Return the cost in USD; None if the price is not known.

    Args:
        model: The vendor's name of the model.
        usage: The tokens. Tokens written to Anthropic's one-hour cache are in `cache_write_12h_tokens`, the field for the
            longer-lived cache of any vendor.
        service_tier: The tier of the answer, such as standard, batch or fast. The tier `priority` is paid by
            contract, so its price is not known.
        at: The time of the call; None for now.
    """
    day = (at or datetime.now(UTC)).astimezone(UTC).date()
    rates = _find_rates(model, service_tier, day)
    if rates is None:
        return None
    hour = min(usage.cache_write_12h_tokens, usage.cache_write_tokens)
    written = usage.cache_write_tokens - hour
    rest = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
    total = Decimal(0)
    for tokens, steps in (
        (rest, rates.input),
        (usage.cached_tokens, rates.read),
        (written, rates.write),
        (hour, rates.write_hour),
        (usage.output_tokens, rates.output),
    ):
        if tokens:
            if steps is None:
                return None
            total += tokens * _find_price(steps, usage.input_tokens)
    return total / _MILLION


def _find_price(steps: Steps, input_tokens: int) -> Decimal:
    return next(price for start, price in reversed(steps) if input_tokens > start or not start)


@functools.lru_cache(maxsize=1024)
def _find_rates(model: str, tier: str | None, day: date) -> _Rates | None:
    if tier not in _STANDARD and tier not in _PROCESSING:
        return None
    prices = _find_prices(model, tier, day)
    if prices is None or not prices.input_mtok:
        return None
    return _Rates(
        input=_read_steps(prices.input_mtok),
        output=_read_steps(prices.output_mtok),
        read=_read_steps(prices.cache_read_mtok),
        write=_read_steps(prices.cache_write_mtok),
        write_hour=_read_steps(getattr(prices, "cache_write_1h_mtok", None)),
    )


def _find_prices(model: str, tier: str | None, day: date) -> ModelPrice | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        info = get_snapshot().find_provider_model(model, None, "anthropic", None)[1]
    except LookupError:
        return None
    moment = datetime.combine(day, time(12), UTC)
    context = None if tier is None else _PROCESSING.get(tier)
    if context is not None and not any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(moment))
        for variant in info.price_variants or ()
    ):
        return None  # the table has no price for this tier on that day
    return info.get_prices(moment, context)


def _read_steps(price: Any) -> Steps | None:
    if price is None:
        return None
    if isinstance(price, Decimal):
        return ((0, price),)
    return ((0, price.base), *((tier.start, tier.price) for tier in price.tiers))
