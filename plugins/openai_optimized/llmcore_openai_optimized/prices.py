"""What OpenAI's models cost, from genai-prices; unknown is None and never 0."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.types import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo

__all__ = ["price"]

_CONTEXTS: Final = {
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast"},
    "batch": {"processing": "batch"},
}
"""How genai-prices names the tiers; it prices one that it does not know at the standard price, silently."""

_PER: Final = Decimal(1_000_000)
_Steps = tuple[tuple[int, Decimal], ...]


class _Rates(msgspec.Struct, frozen=True):
    """USD for a million tokens: steps from a number of input tokens on, of which the last reached counts."""

    input: _Steps | None
    output: _Steps | None
    cached: _Steps | None
    cache_write: _Steps | None
    audio_input: _Steps | None
    audio_output: _Steps | None


def price(
    model: str, usage: Usage, service_tier: str | None = None, configured: str = "standard"
) -> Decimal | None:
    """Return what *usage* costs in USD; None where the model, the tier or a part of it has no known price.

    Args:
        model: By its name at OpenAI, whatever the server.
        usage: As the server reported it.
        service_tier: The tier that served; None or "auto" where the server did not say.
        configured: The tier that stands in then. A batch is no tier of an answer, so it is believed beside "default".
    """
    rates = _rates(model, _tier(service_tier, configured), datetime.now(UTC).date())
    return None if rates is None else _cost(rates, usage)


def _tier(served: str | None, configured: str) -> str:
    if served in {None, "auto"} or (configured == "batch" and served == "default"):
        return configured
    return "standard" if served == "default" else str(served)


def _cost(rates: _Rates, usage: Usage) -> Decimal | None:
    plain_input = (
        usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.audio_input_tokens
    )
    parts = (
        (max(plain_input, 0), rates.input),
        (usage.cached_tokens, rates.cached or rates.input),
        (usage.cache_write_tokens, rates.cache_write or rates.input),
        (usage.audio_input_tokens, rates.audio_input),
        (usage.output_tokens - usage.audio_output_tokens, rates.output),
        (usage.audio_output_tokens, rates.audio_output),
    )
    total = Decimal(0)
    for tokens, steps in parts:
        if tokens:
            if steps is None:
                return None
            total += tokens * _rate(steps, usage.input_tokens)
    return total / _PER


def _rate(steps: _Steps, input_tokens: int) -> Decimal:
    rate = steps[0][1]
    for start, each in steps[1:]:
        if input_tokens > start:
            rate = each
    return rate


@functools.lru_cache(maxsize=1024)
def _rates(model: str, tier: str, _today: date) -> _Rates | None:
    """Look the model up: 155 us that a call must not pay each time. Prices change with the day."""
    if tier != "standard" and tier not in _CONTEXTS:
        return None
    info = _found(model)
    if info is None:
        return None
    context = _CONTEXTS.get(tier)
    if context is not None and all(variant.when != context for variant in info.price_variants or ()):
        return None  # the table has no price of its own for this tier
    prices = info.get_prices(datetime.now(UTC), context)
    rates = _Rates(
        *(
            _steps(getattr(prices, name))
            for name in (
                "input_mtok",
                "output_mtok",
                "cache_read_mtok",
                "cache_write_mtok",
                "input_audio_mtok",
                "output_audio_mtok",
            )
        )
    )
    # A price of 0 is how tables say that they do not know, or that something else than tokens is billed.
    return rates if rates.input and any(rate for _, rate in rates.input) else None


def _found(model: str) -> ModelInfo | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, "openai", None)[1]
    except LookupError:
        return None


def _steps(value: Any) -> _Steps | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return ((0, value),)
    tiers: Sequence[Any] = value.tiers
    return ((0, value.base), *((tier.start, tier.price) for tier in tiers))
