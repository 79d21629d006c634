"""What a call costs: the configuration's own prices first, then what the provider knows."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Protocol

from llmcore.log import logger
from llmcore.types import Usage

__all__ = ["PriceLike", "cost_at", "known_price", "most_at"]

_MILLION: Final = Decimal(1_000_000)


class PriceLike(Protocol):
    """USD for a million tokens; a table `[prices."provider:model"]` of the configuration."""

    @property
    def input(self) -> Decimal:
        """Of input tokens."""
        ...

    @property
    def output(self) -> Decimal:
        """Of output tokens."""
        ...

    @property
    def cached_input(self) -> Decimal | None:
        """Of input tokens read from the vendor's cache; None: as `input`."""
        ...

    @property
    def cache_write(self) -> Decimal | None:
        """Of input tokens written to the vendor's cache; None: as `input`."""
        ...


def cost_at(price: PriceLike, usage: Usage) -> Decimal:
    """Return what *usage* costs in USD at *price*."""
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    total = (
        plain * price.input
        + usage.cached_tokens * cached
        + usage.cache_write_tokens * written
        + usage.output_tokens * price.output
    )
    return total / _MILLION


def most_at(price: PriceLike, usage: Usage) -> Decimal:
    """Return the most in USD that *usage* can cost at *price*: every token at the dearest rate that may apply."""
    into = max(rate for rate in (price.input, price.cached_input, price.cache_write) if rate is not None)
    return (usage.input_tokens * into + usage.output_tokens * price.output) / _MILLION


def known_price(provider: object, model: str, usage: Usage, service_tier: str | None) -> Decimal | None:
    """Return what *provider* says that *usage* costs in USD, or None: it does not know, or failed to say."""
    price = getattr(provider, "price", None)
    if price is None:
        return None
    try:
        cost: Decimal | None = price(model, usage, service_tier)
    except Exception as error:  # noqa: BLE001 - a paid answer is not lost over its price
        log = logger(__name__)
        log.warning("the price of %s is not known: %s: %s", model, type(error).__name__, error)
        return None
    return cost
