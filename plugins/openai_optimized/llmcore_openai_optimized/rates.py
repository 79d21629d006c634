"""Find the prices of a model for a tier and a day in genai-prices, or in `own_prices` if genai-prices lacks them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from llmcore_openai_optimized import own_prices as own
from llmcore_openai_optimized.context_windows import normalise_model

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

__all__ = ["OPENAI", "Rates", "Steps", "find_character_rate", "find_rates", "get_rate"]

OPENAI: Final = "openai"
"""The vendor's name in genai-prices."""

_CONTEXTS: Final = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},
}
"""Tier -> its name in genai-prices. Other tiers are not looked up, because genai-prices would use the standard price."""

_LONG: Final = 272_000
"""If a request in the tier `ultrafast` has more input tokens than this, all its tokens cost more.

Its input then costs 2 times as much, and its output 1.5 times as much.
"""

Steps: TypeAlias = tuple[tuple[int, Decimal], ...]
"""Pairs of a threshold (a number of input tokens) and a price, in ascending order; the first threshold is 0.

All tokens of a request have the price of the highest threshold that its input tokens exceed.
"""


class Rates(msgspec.Struct, frozen=True):
    """USD for a million tokens of each kind; None if unknown."""

    input: Steps | None
    output: Steps | None
    cached: Steps | None
    cache_write: Steps | None
    cache_write_12h: Steps | None
    audio_input: Steps | None
    audio_output: Steps | None
    image_input: Steps | None
    image_output: Steps | None


def get_rate(steps: Steps, input_tokens: int) -> Decimal:
    """Return the rate, in USD for a million tokens, that applies to a request with *input_tokens*."""
    if len(steps) == 1:
        return steps[0][1]
    return next(price for start, price in reversed(steps) if input_tokens > start or not start)


@functools.lru_cache(maxsize=1024)
def find_rates(model: str, tier: str, day: date, vendor: str = OPENAI) -> Rates | None:
    """Return the prices of *model*; None if they are unknown. *vendor* is the vendor's name in genai-prices.

    The result is cached, because a lookup takes 155 microseconds.
    """
    if tier == "ultrafast" and vendor == OPENAI:
        found = own.find_price(own.ULTRAFAST.get(_strip_date(model), ()), day)
        return None if found is None else _make_ultrafast_rates(found)
    if tier != "standard" and tier not in _CONTEXTS:
        return None
    prices = _find_prices(model, tier, day, vendor)
    if prices is None:
        return None
    written = _make_steps(prices.cache_write_mtok)
    audio = own.find_price(own.AUDIO.get(_strip_date(model), ()), day) if vendor == OPENAI else None
    image_output = prices.output_image_mtok or (prices.output_mtok if prices.input_image_mtok else None)
    rates = Rates(
        input=_make_steps(prices.input_mtok),
        output=_make_steps(prices.output_mtok),
        cached=_make_steps(prices.cache_read_mtok),
        cache_write=written,
        cache_write_12h=_multiply(written, own.TWELVE_HOURS),
        audio_input=_make_steps(audio.input if audio else prices.input_audio_mtok),
        audio_output=_make_steps(audio.output if audio else prices.output_audio_mtok),
        image_input=_make_steps(prices.input_image_mtok),
        image_output=_make_steps(image_output),
    )
    # An input price of 0 means that the price is unknown, or that the model is not billed by tokens.
    return rates if rates.input and any(each for _, each in rates.input) else None


def find_character_rate(model: str, day: date) -> Decimal | None:
    """Return the price in USD of a million characters of speech; None if *model* is not billed by characters."""
    prices = _find_prices(model, "standard", day, OPENAI)
    found = getattr(prices, "input_mchars", None)
    return found if isinstance(found, Decimal) and found else None


def _find_prices(model: str, tier: str, day: date, vendor: str) -> ModelPrice | None:
    info = _find_model(model, vendor)
    if info is None:
        return None
    moment = datetime.combine(day, time(12), UTC)
    context = _CONTEXTS.get(tier)
    if context is not None and not any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(moment))
        for variant in info.price_variants or ()
    ):
        return None  # no price for this tier on that day
    return info.get_prices(moment, context)


def _find_model(model: str, vendor: str) -> ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, vendor, None)[1]
    except LookupError:
        return None


def _make_ultrafast_rates(prices: own.OwnPrice) -> Rates:
    def make_steps(price: Decimal | None, more: Decimal) -> Steps | None:
        return None if price is None else ((0, price), (_LONG, price * more))

    double = Decimal(2)
    written = make_steps(prices.cache_write, double)
    return Rates(
        input=make_steps(prices.input, double),
        output=make_steps(prices.output, Decimal("1.5")),
        cached=make_steps(prices.cached, double),
        cache_write=written,
        cache_write_12h=_multiply(written, own.TWELVE_HOURS),
        audio_input=None,
        audio_output=None,
        image_input=None,
        image_output=None,
    )


def _strip_date(model: str) -> str:
    """Return the name without the date of a snapshot, such as gpt-6-astra for gpt-6-astra-2026-10-12."""
    name = normalise_model(model)
    try:
        date.fromisoformat(name[-10:])
    except ValueError:
        return name
    return name[:-11]


def _make_steps(value: Any) -> Steps | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return ((0, value),)
    tiers: Sequence[Any] = value.tiers
    return ((0, value.base), *((tier.start, tier.price) for tier in tiers))


def _multiply(steps: Steps | None, factor: int) -> Steps | None:
    return None if steps is None else tuple((start, price * factor) for start, price in steps)
