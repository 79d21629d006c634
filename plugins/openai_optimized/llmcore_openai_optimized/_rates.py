"""What one model costs in one tier on one day: from genai-prices, completed from our own table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from llmcore_openai_optimized import _own_prices as own
from llmcore_openai_optimized.windows import family

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

__all__ = ["Rates", "Steps", "characters_rate", "rate", "rates_of"]

_CONTEXTS: Final = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},
}
"""How genai-prices names the tiers; it prices one that it does not know at the standard price, silently."""

_LONG: Final = 272_000
"""Input tokens beyond which the whole request is dearer: input twice, output one and a half times."""

Steps: TypeAlias = tuple[tuple[int, Decimal], ...]
"""Prices from a number of input tokens on, of which the last that is passed counts for all tokens."""


class Rates(msgspec.Struct, frozen=True):
    """USD for a million tokens of each kind; None where it is not known."""

    input: Steps | None
    output: Steps | None
    cached: Steps | None
    cache_write: Steps | None
    cache_write_12h: Steps | None
    audio_input: Steps | None
    audio_output: Steps | None
    image_input: Steps | None
    image_output: Steps | None


def rate(steps: Steps, input_tokens: int) -> Decimal:
    """Return the price of a request with so many input tokens."""
    return next(price for start, price in reversed(steps) if input_tokens > start or not start)


@functools.lru_cache(maxsize=1024)
def rates_of(model: str, tier: str, day: date) -> Rates | None:
    """Look the model up: 155 us that a call must not pay each time."""
    if tier == "ultrafast":
        found = own.since(own.ULTRAFAST.get(_dateless(model), ()), day)
        return None if found is None else _ultrafast(found)
    if tier != "standard" and tier not in _CONTEXTS:
        return None
    prices = _prices(model, tier, day)
    if prices is None:
        return None
    written = _steps(prices.cache_write_mtok)
    heard = own.since(own.AUDIO.get(_dateless(model), ()), day)
    drawn = prices.output_image_mtok or (prices.output_mtok if prices.input_image_mtok else None)
    rates = Rates(
        input=_steps(prices.input_mtok),
        output=_steps(prices.output_mtok),
        cached=_steps(prices.cache_read_mtok),
        cache_write=written,
        cache_write_12h=_times(written, own.TWELVE_HOURS),
        audio_input=_steps(heard.input if heard else prices.input_audio_mtok),
        audio_output=_steps(heard.output if heard else prices.output_audio_mtok),
        image_input=_steps(prices.input_image_mtok),
        image_output=_steps(drawn),
    )
    # A price of 0 is how tables say that they do not know, or that something else than tokens is billed.
    return rates if rates.input and any(each for _, each in rates.input) else None


def characters_rate(model: str, day: date) -> Decimal | None:
    """Return what a million characters cost that *model* speaks; None of one that is billed otherwise."""
    prices = _prices(model, "standard", day)
    found = getattr(prices, "input_mchars", None)
    return found if isinstance(found, Decimal) and found else None


def _prices(model: str, tier: str, day: date) -> ModelPrice | None:
    info = _found(model)
    if info is None:
        return None
    moment = datetime.combine(day, time(12), UTC)
    context = _CONTEXTS.get(tier)
    if context is not None and not any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(moment))
        for variant in info.price_variants or ()
    ):
        return None  # the table has no price of its own for this tier on that day
    return info.get_prices(moment, context)


def _found(model: str) -> ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, "openai", None)[1]
    except LookupError:
        return None


def _ultrafast(prices: own.Own) -> Rates:
    def steps(price: Decimal | None, more: Decimal) -> Steps | None:
        return None if price is None else ((0, price), (_LONG, price * more))

    double = Decimal(2)
    written = steps(prices.cache_write, double)
    return Rates(
        input=steps(prices.input, double),
        output=steps(prices.output, Decimal("1.5")),
        cached=steps(prices.cached, double),
        cache_write=written,
        cache_write_12h=_times(written, own.TWELVE_HOURS),
        audio_input=None,
        audio_output=None,
        image_input=None,
        image_output=None,
    )


def _dateless(model: str) -> str:
    """Return the name without the day of its snapshot, which ends it as in gpt-6-astra-2026-10-12."""
    name = family(model)
    try:
        date.fromisoformat(name[-10:])
    except ValueError:
        return name
    return name[:-11]


def _steps(value: Any) -> Steps | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return ((0, value),)
    tiers: Sequence[Any] = value.tiers
    return ((0, value.base), *((tier.start, tier.price) for tier in tiers))


def _times(steps: Steps | None, factor: int) -> Steps | None:
    return None if steps is None else tuple((start, price * factor) for start, price in steps)
