"""Prices that genai-prices 0.2.3 does not have, in USD for a million tokens.

Where a date stands beside a price, it held from that day on, UTC; before the first one nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

__all__ = ["AUDIO", "TWELVE_HOURS", "ULTRAFAST", "Own", "since"]


class Own(NamedTuple):
    """Prices up to 272,000 input tokens, or of audio whatever the length."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None


def _own(*prices: str) -> Own:
    return Own(*map(Decimal, prices))


ULTRAFAST: Final[Mapping[str, Sequence[tuple[date, Own]]]] = {
    # Source: the tables inside litellm 1.109.1 (2026-11), which cite https://developers.openai.com/api/docs/pricing.
    # Six times the standard price in every unit; beyond 272,000 input tokens it doubles as that does. The dates are
    # those on which genai-prices first has the models' other tiers.
    "gpt-6-astra": [(date(2026, 10, 12), _own("60", "300", "6", "75"))],
    "gpt-6.1-sol": [(date(2026, 10, 12), _own("12", "60", "0.6", "15"))],
}

TWELVE_HOURS: Final = 2
"""Times the price of a write that is kept for 30 minutes, in every tier and length: 2.5 times the input instead of 1.25.

Source: as above; the ten models there that have both prices agree.
"""

AUDIO: Final[Mapping[str, Sequence[tuple[date, Own]]]] = {
    # Source: OpenAI's list, which changed with the snapshot 2024-12-17. genai-prices has no price of this audio, and
    # bills it as text, 16 times too low.
    "gpt-4o-audio-preview": [
        (date(2024, 10, 1), _own("100", "200")),
        (date(2024, 12, 17), _own("40", "80")),
    ],
}


def since(history: Sequence[tuple[date, Own]], day: date) -> Own | None:
    """Return what held on *day*; None before the first price."""
    held = [prices for start, prices in history if start <= day]
    return held[-1] if held else None
