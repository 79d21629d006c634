"""Compute the cost of a usage from the prices of its model. An unknown cost is None, never 0."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from llmcore.types import Usage
from llmcore_openai_optimized.rates import OPENAI, Rates, Steps, find_character_rate, find_rates, get_rate

__all__ = ["price", "speech_price"]

_MILLION: Final = Decimal(1_000_000)


def price(
    model: str,
    usage: Usage,
    service_tier: str | None = None,
    configured: str = "standard",
    at: datetime | None = None,
    *,
    vendor: str = OPENAI,
) -> Decimal | None:
    """Return the cost of *usage* in USD; None if a price is unknown.

    Args:
        model: The vendor's own name of the model, even if Azure or a proxy answers.
        usage: The reported usage.
        service_tier: The tier of the answer; None or "auto" if unknown.
        configured: The tier to use if the answer's tier is unknown. Batch answers report "default", so "batch" also
            replaces "default".
        at: The time of the call; None means now.
        vendor: The name of the vendor in genai-prices.
    """
    day = (at or datetime.now(UTC)).astimezone(UTC).date()
    rates = find_rates(model, _choose_tier(service_tier, configured), day, vendor)
    return None if rates is None else _sum_cost(rates, usage)


def speech_price(model: str, characters: int, at: datetime | None = None) -> Decimal | None:
    """Return the cost in USD of *characters* of speech; None if *model* is unknown or is billed by another unit."""
    each = find_character_rate(model, (at or datetime.now(UTC)).astimezone(UTC).date())
    return None if each is None else characters * each / _MILLION


def _choose_tier(served: str | None, configured: str) -> str:
    if served in {None, "auto"} or (configured == "batch" and served == "default"):
        return configured
    return "standard" if served == "default" else str(served)


def _sum_cost(rates: Rates, usage: Usage) -> Decimal | None:
    total = Decimal(0)
    for tokens, steps in (*_split_input(rates, usage), *_split_output(rates, usage)):
        if tokens:
            if steps is None:
                return None
            total += tokens * get_rate(steps, usage.input_tokens)
    return total / _MILLION


def _split_input(rates: Rates, usage: Usage) -> list[tuple[int, Steps | None]]:
    """Assign one price to each input token. A token of two kinds, such as cached audio, gets the higher price."""
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


def _split_output(rates: Rates, usage: Usage) -> list[tuple[int, Steps | None]]:
    audio = min(usage.audio_output_tokens, usage.output_tokens)
    image_output = min(usage.image_output_tokens, usage.output_tokens - audio)
    return [
        (usage.output_tokens - audio - image_output, rates.output),
        (audio, rates.audio_output),
        (image_output, rates.image_output),
    ]
