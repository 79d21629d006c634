"""Limits and prices of ElevenLabs' models.

Limits: the vendor's help pages and its list of models, as of 2026-11. Prices: USD for a million characters, from the table of
litellm 1.109.1 (2026-11). The table of litellm 1.106.2 had 180 for every model, and prepaid plans have other
prices, so a bill may differ from the computed cost. A credit has the same price for every model; some models take
half a credit for a character.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

import msgspec

__all__ = ["MODELS", "Model", "get_credits_cost", "get_model"]

Stitching = Literal["ids", "text", ""]


class Model(msgspec.Struct, frozen=True):
    """One model."""

    most_characters: int
    credits_per_character: Decimal | None
    """None if unknown."""
    stitching: Stitching
    """The context that is sent with each piece of a long text: the "ids" of earlier requests, the surrounding "text",
    or "" if the model accepts no context."""


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

_UNKNOWN: Final = Model(5_000, None, "")
"""The assumed limits of an unknown model: the smallest limits of any model."""


def get_model(name: str) -> Model:
    """Return the limits and prices of the model *name*."""
    return MODELS.get(name, _UNKNOWN)


def get_credits_cost(model: str, taken: Decimal) -> Decimal | None:
    """Return the cost in USD of *taken* credits; None if the price of *model* is unknown."""
    return None if get_model(model).credits_per_character is None else taken * _USD_PER_CREDIT
