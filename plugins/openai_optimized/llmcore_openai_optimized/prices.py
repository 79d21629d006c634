"""What OpenAI's models cost, by their names; unknown is None and never 0."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from llmcore.types import Usage
from llmcore_openai_optimized._rates import Rates, Steps, characters_rate, rate, rates_of

__all__ = ["price", "speech_price"]

_MILLION: Final = Decimal(1_000_000)


def price(
    model: str,
    usage: Usage,
    service_tier: str | None = None,
    configured: str = "standard",
    at: datetime | None = None,
) -> Decimal | None:
    """Return what *usage* costs in USD; None where the model, the tier or a part of it has no known price.

    Args:
        model: By its name at OpenAI, whatever the server.
        usage: As the server reported it.
        service_tier: The tier that served; None or "auto" where the server did not say.
        configured: The tier that stands in then. A batch is no tier of an answer, so it is believed beside "default".
        at: When the call was made; None is now.
    """
    day = (at or datetime.now(UTC)).astimezone(UTC).date()
    rates = rates_of(model, _tier(service_tier, configured), day)
    return None if rates is None else _cost(rates, usage)


def speech_price(model: str, characters: int, at: datetime | None = None) -> Decimal | None:
    """Return what it costs in USD to have *characters* spoken; None of a model that is not billed by them."""
    each = characters_rate(model, (at or datetime.now(UTC)).astimezone(UTC).date())
    return None if each is None else characters * each / _MILLION


def _tier(served: str | None, configured: str) -> str:
    if served in {None, "auto"} or (configured == "batch" and served == "default"):
        return configured
    return "standard" if served == "default" else str(served)


def _cost(rates: Rates, usage: Usage) -> Decimal | None:
    total = Decimal(0)
    for tokens, steps in (*_input(rates, usage), *_output(rates, usage)):
        if tokens:
            if steps is None:
                return None
            total += tokens * rate(steps, usage.input_tokens)
    return total / _MILLION


def _input(rates: Rates, usage: Usage) -> list[tuple[int, Steps | None]]:
    """Give every input token one price. Where kinds overlap, such as cached audio, the dearer one counts."""
    left = usage.input_tokens
    kept = min(usage.cache_write_12h_tokens, usage.cache_write_tokens)
    parts: list[tuple[int, Steps | None]] = []
    for tokens, steps in (
        (usage.audio_input_tokens, rates.audio_input),
        (usage.image_input_tokens if rates.image_input else 0, rates.image_input),
        (kept, rates.cache_write_12h),
        (usage.cache_write_tokens - kept, rates.cache_write or rates.input),
        (usage.cached_tokens, rates.cached or rates.input),
    ):
        parts.append((min(tokens, left), steps))
        left -= parts[-1][0]
    return [*parts, (left, rates.input)]


def _output(rates: Rates, usage: Usage) -> list[tuple[int, Steps | None]]:
    spoken = min(usage.audio_output_tokens, usage.output_tokens)
    drawn = min(usage.image_output_tokens, usage.output_tokens - spoken)
    return [
        (usage.output_tokens - spoken - drawn, rates.output),
        (spoken, rates.audio_output),
        (drawn, rates.image_output),
    ]
