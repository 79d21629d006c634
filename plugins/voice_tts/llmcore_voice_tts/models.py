"""What ElevenLabs' models take and cost, as far as it must be known without asking.

Limits: the vendor's help pages and its list of models, as of 2026-11. Prices: USD for a million characters, from
litellm's table in its release 1.109.1 of 2026-11; its release 1.106.2 still said 180 for every model, and plans bought
in advance pay other prices. Where a character is half a credit it is half the price, so a credit always costs the same.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec

__all__ = ["UNKNOWN", "Model", "credits_cost", "model_named"]

Stitching = Literal["ids", "text", ""]


class Model(msgspec.Struct, frozen=True):
    """One model."""

    most_characters: int
    credits_per_character: Decimal | None
    """None where nobody says."""
    stitching: Stitching
    """What it joins pieces by: the ids of requests before, the text around, or nothing."""


_ONE: Final = Decimal(1)
_HALF: Final = Decimal("0.5")
_USD_PER_CREDIT: Final = Decimal(80) / 1_000_000

MODELS: Final = {
    "eleven_multilingual_v2": Model(10_000, _ONE, "ids"),
    "eleven_flash_v2": Model(30_000, _HALF, "ids"),
    "eleven_flash_v2_5": Model(40_000, _HALF, "ids"),
    "eleven_turbo_v2": Model(30_000, _HALF, "ids"),
    "eleven_turbo_v2_5": Model(40_000, _HALF, "ids"),
    "eleven_v3": Model(5_000, _ONE, ""),
    "eleven_v4": Model(10_000, _ONE, "text"),
    "eleven_v4_turbo": Model(10_000, _HALF, "text"),
}

UNKNOWN: Final = Model(5_000, None, "")
"""What is assumed of a model that is not in the table: the least that any other takes."""


def model_named(name: str) -> Model:
    """Return what is known of the model."""
    return MODELS.get(name, UNKNOWN)


def credits_cost(model: str, taken: Decimal) -> Decimal | None:
    """Return what *taken* credits cost in USD, None for a model whose price is not known."""
    return None if model_named(model).credits_per_character is None else taken * _USD_PER_CREDIT
