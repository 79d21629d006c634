"""Prices that genai-prices 0.2.3 lacks, in USD for a million tokens.

A price with a date applies from that day on (UTC). The price before the first date is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

__all__ = ["AUDIO", "TWELVE_HOURS", "ULTRAFAST", "OwnPrice", "find_price"]


class OwnPrice(NamedTuple):
    """The prices of a model: for requests of up to 272,000 input tokens, or for audio of any length."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None


def _make_price(*prices: str) -> OwnPrice:
    return OwnPrice(*map(Decimal, prices))


ULTRAFAST: Final[Mapping[str, Sequence[tuple[date, OwnPrice]]]] = {
    # Source: the tables inside litellm 1.109.1 (2026-11), which cite https://developers.openai.com/api/docs/pricing.
    # Each price is six times the standard price. A request with more than 272,000 input tokens has higher prices;
    # see `rates`. Each date is the date of the model's first price in genai-prices, which is for another tier.
    "gpt-6-astra": [(date(2026, 10, 12), _make_price("60", "300", "6", "75"))],
    "gpt-6.1-sol": [(date(2026, 10, 12), _make_price("12", "60", "0.6", "15"))],
}

TWELVE_HOURS: Final = 2
"""The price of a 12-hour cache write, as a multiple of the price of a 30-minute write, in every tier.

A 12-hour write costs 2.5 times as much as plain input, and a 30-minute write 1.25 times as much. Source: the tables
inside litellm that are named above. All ten models that have both prices there have this factor.
"""

AUDIO: Final[Mapping[str, Sequence[tuple[date, OwnPrice]]]] = {
    # Source: OpenAI's list, which changed with the snapshot 2024-12-17. genai-prices has no price for this audio
    # and uses the price of text, which is 16 times too low.
    "gpt-4o-audio-preview": [
        (date(2024, 10, 1), _make_price("100", "200")),
        (date(2024, 12, 17), _make_price("40", "80")),
    ],
}


def find_price(history: Sequence[tuple[date, OwnPrice]], day: date) -> OwnPrice | None:
    """Return the price on *day*; None before the first date."""
    held = [prices for start, prices in history if start <= day]
    return held[-1] if held else None
