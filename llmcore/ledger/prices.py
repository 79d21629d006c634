"""What a call costs: the configuration's own prices first, then what the provider knows."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Protocol

from llmcore.log import logger
from llmcore.types import Usage

__all__ = ["PriceLike", "cost_at", "known_price", "most_at", "speech_cost_at"]

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

    @property
    def cache_write_12h(self) -> Decimal | None:
        """Of those of them that are kept for 12 hours; None: as `cache_write`."""
        ...

    @property
    def audio_input(self) -> Decimal | None:
        """Of input tokens that are sound; None: as `input`."""
        ...

    @property
    def audio_output(self) -> Decimal | None:
        """Of output tokens that are sound; None: as `output`."""
        ...

    @property
    def characters(self) -> Decimal | None:
        """Of a million characters that are spoken; None: not known."""
        ...


def cost_at(price: PriceLike, usage: Usage) -> Decimal:
    """Return what *usage* costs in USD at *price*.

    Every token has one price: where kinds overlap, such as cached sound, sound counts before writes, and these before
    reads.
    """
    left = usage.input_tokens
    written = _first(price.cache_write, price.input)
    kept = min(usage.cache_write_12h_tokens, usage.cache_write_tokens)
    total = Decimal(0)
    for tokens, each in (
        (usage.audio_input_tokens, _first(price.audio_input, price.input)),
        (kept, _first(price.cache_write_12h, written)),
        (usage.cache_write_tokens - kept, written),
        (usage.cached_tokens, _first(price.cached_input, price.input)),
    ):
        part = min(tokens, left)
        left -= part
        total += part * each
    spoken = min(usage.audio_output_tokens, usage.output_tokens)
    total += left * price.input + (usage.output_tokens - spoken) * price.output
    return (total + spoken * _first(price.audio_output, price.output)) / _MILLION


def speech_cost_at(price: PriceLike, characters: int) -> Decimal | None:
    """Return what it costs in USD at *price* to have *characters* spoken; None where it does not say."""
    return None if price.characters is None else characters * price.characters / _MILLION


def _first(own: Decimal | None, other: Decimal) -> Decimal:
    return other if own is None else own


def most_at(price: PriceLike, usage: Usage) -> Decimal:
    """Return the most in USD that *usage* can cost at *price*: every token at the dearest rate that may apply."""
    dear = (price.input, price.cached_input, price.cache_write, price.cache_write_12h, price.audio_input)
    into = max(rate for rate in dear if rate is not None)
    out = max(price.output, _first(price.audio_output, price.output))
    return (usage.input_tokens * into + usage.output_tokens * out) / _MILLION


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
