"""The cost of a call.

An amount that the server billed takes precedence, then configured prices, then the provider's price table.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Protocol

from llmcore.errors import LLMCoreError
from llmcore.interrupts import must_propagate
from llmcore.log import get_logger
from llmcore.types import Usage

__all__ = [
    "PriceLike",
    "compute_cost",
    "compute_max_cost",
    "compute_speech_cost",
    "find_price",
    "get_billed_cost",
    "get_provider_cost",
    "is_free",
]

_MILLION: Final = Decimal(1_000_000)


class PriceLike(Protocol):
    """Prices in USD for a million tokens, as in a table `[prices."provider:model"]` of the configuration."""

    @property
    def input(self) -> Decimal:
        """Price of input tokens."""
        ...

    @property
    def output(self) -> Decimal:
        """Price of output tokens."""
        ...

    @property
    def cached_input(self) -> Decimal | None:
        """Price of input tokens read from the vendor's cache. None means the price of `input`."""
        ...

    @property
    def cache_write(self) -> Decimal | None:
        """Price of input tokens written to the vendor's cache. None means the price of `input`."""
        ...

    @property
    def cache_write_12h(self) -> Decimal | None:
        """Price of input tokens written to the vendor's cache for 12 hours. None means the price of `cache_write`."""
        ...

    @property
    def audio_input(self) -> Decimal | None:
        """Price of audio input tokens. None means the price of `input`."""
        ...

    @property
    def audio_output(self) -> Decimal | None:
        """Price of audio output tokens. None means the price of `output`."""
        ...

    @property
    def characters(self) -> Decimal | None:
        """Price of a million characters of synthesized text. None means unknown."""
        ...


def find_price(prices: Mapping[str, PriceLike], provider: str, model: str) -> PriceLike | None:
    """Return the configured price of the model, or of its provider; None if neither is configured."""
    return prices.get(f"{provider}:{model}") or prices.get(provider)


def is_free(price: PriceLike) -> bool:
    """Return whether every token costs nothing at *price*."""
    return not (
        price.input or price.output or price.cached_input or price.cache_write or price.cache_write_12h
    ) and not (price.audio_input or price.audio_output)


def compute_cost(price: PriceLike, usage: Usage) -> Decimal:
    """Return the cost of *usage* in USD at *price*.

    Every token is priced once. A token of several kinds, such as cached audio, has the price of the first of these kinds:
    audio, cache write, cache read.
    """
    left = usage.input_tokens
    write_price = _find_first(price.cache_write, price.input)
    written_12h = min(usage.cache_write_12h_tokens, usage.cache_write_tokens)
    total = Decimal(0)
    for tokens, each in (
        (usage.audio_input_tokens, _find_first(price.audio_input, price.input)),
        (written_12h, _find_first(price.cache_write_12h, write_price)),
        (usage.cache_write_tokens - written_12h, write_price),
        (usage.cached_tokens, _find_first(price.cached_input, price.input)),
    ):
        part = min(tokens, left)
        left -= part
        total += part * each
    audio = min(usage.audio_output_tokens, usage.output_tokens)
    total += left * price.input + (usage.output_tokens - audio) * price.output
    return (total + audio * _find_first(price.audio_output, price.output)) / _MILLION


def get_billed_cost(usage: Usage) -> Decimal | None:
    """Return the USD that the server billed; None if the server sent no amount or an impossible amount."""
    cost = usage.cost
    return cost if isinstance(cost, Decimal) and cost.is_finite() and cost >= 0 else None


def compute_speech_cost(price: PriceLike, characters: int) -> Decimal | None:
    """Return the cost in USD of synthesizing *characters* at *price*; None if unknown."""
    return None if price.characters is None else characters * price.characters / _MILLION


def _find_first(own: Decimal | None, other: Decimal) -> Decimal:
    return other if own is None else own


def compute_max_cost(price: PriceLike, usage: Usage) -> Decimal:
    """Return the maximum cost of *usage* in USD at *price*: every token at the highest rate that may apply."""
    rates = (price.input, price.cached_input, price.cache_write, price.cache_write_12h, price.audio_input)
    input_rate = max(rate for rate in rates if rate is not None)
    output_rate = max(price.output, _find_first(price.audio_output, price.output))
    return (usage.input_tokens * input_rate + usage.output_tokens * output_rate) / _MILLION


def get_provider_cost(provider: object, model: str, usage: Usage, service_tier: str | None) -> Decimal | None:
    """Return the cost of *usage* in USD by the price table of *provider*.

    The result is None if the provider does not know the price or raises an error.
    """
    price = getattr(provider, "price", None)
    if price is None:
        return None
    try:
        cost: Decimal | None = price(model, usage, service_tier)
    except BaseException as error:
        if must_propagate(error):
            raise
        log = get_logger(__name__)
        reason = f": {error.message}" if isinstance(error, LLMCoreError) else ""
        log.warning("the price of %s is unknown: %s%s", model, type(error).__name__, reason)
        return None
    return cost
