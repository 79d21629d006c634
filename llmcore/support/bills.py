"""The values of a vendor's bill: the usage and the amounts by day, model and API key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from typing import Any, Final

import msgspec

__all__ = [
    "AUDIO_INPUT",
    "AUDIO_OUTPUT",
    "CACHED_INPUT",
    "CACHE_WRITE",
    "CACHE_WRITE_LONG",
    "CHARACTERS",
    "IMAGE_INPUT",
    "IMAGE_OUTPUT",
    "INPUT",
    "OUTPUT",
    "PRECISION",
    "STANDARD",
    "Bill",
    "BillLine",
    "BillUsage",
    "divide",
    "find_resolution",
    "normalise_tier",
    "parse_amount",
]

INPUT: Final = "input"
"""Input tokens that belong to none of the other kinds. Each token belongs to exactly one kind."""
CACHED_INPUT: Final = "cached_input"
CACHE_WRITE: Final = "cache_write"
CACHE_WRITE_LONG: Final = "cache_write_long"
"""Tokens that the vendor caches for longer than those of `CACHE_WRITE`, at a higher price.

OpenAI caches them for 12 hours, and Anthropic for 1 hour.
"""
OUTPUT: Final = "output"
AUDIO_INPUT: Final = "audio_input"
AUDIO_OUTPUT: Final = "audio_output"
IMAGE_INPUT: Final = "image_input"
IMAGE_OUTPUT: Final = "image_output"
CHARACTERS: Final = "characters"
"""Characters of synthesized text."""
STANDARD: Final = "standard"
PRECISION: Final = 60
"""The digits of a `decimal` context in which sums of bills are exact."""
_STANDARD_NAMES: Final = frozenset({"", "auto", "default", "standard", "standard_only"})
_SMALLEST: Final = Decimal("1e-15")
_HALF_CENT: Final = Decimal("0.005")


class BillUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The usage that the vendor counted for one API key and one model on one day."""

    day: date
    """The UTC day, as `BillLine.day`."""
    model: str
    tier: str = STANDARD
    """The service tier: `STANDARD`, "batch", "flex", ..."""
    own: bool = True
    """True if the vendor's bill table, such as [openai_bill], lists the API key and its project or workspace.

    An empty list means all.
    """
    key: str | None = None
    """The id of the API key; None if the vendor names no key, as for requests from a web console."""
    group: str | None = None
    """The id of the project or workspace."""
    requests: int | None = None
    """The number of requests; None if the vendor does not count them."""
    amounts: Mapping[str, int] = {}
    """Kind -> number of tokens or characters."""


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of the bill."""

    day: date
    label: str
    """The vendor's name of the line."""
    amount: Decimal
    """USD, exactly as billed. Negative for a credit."""
    resolution: Decimal = Decimal(0)
    """The largest amount in USD by which the vendor may have rounded this line."""
    model: str | None = None
    """The model; None for a line that does not bill the tokens or characters of a model."""
    kind: str | None = None
    """The kind of tokens, such as `INPUT`, or `CHARACTERS`; None if `model` is None."""
    tier: str = STANDARD
    own: bool = True
    key: str | None = None
    group: str | None = None


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The bill of one organisation for a period."""

    lines: Sequence[BillLine] = ()
    usage: Sequence[BillUsage] = ()
    days: frozenset[date] = frozenset()
    """The UTC days that the reports cover, including days without usage."""


def normalise_tier(name: str | None) -> str:
    """Return a vendor's tier name in the form of `BillUsage.tier`, in lower case.

    None, "default", "auto" and similar names become `STANDARD`.
    """
    lowered = (name or "").lower()
    return STANDARD if lowered in _STANDARD_NAMES else lowered


def parse_amount(value: Any) -> Decimal | None:
    """Return the exact amount of a JSON number or numeric text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except ArithmeticError:
        return None
    return amount if amount.is_finite() else None


def find_resolution(amount: Decimal) -> Decimal:
    """Return the largest rounding error of *amount*.

    This is half a unit of the last digit of *amount*, but at most 0.005, in the unit of *amount*: dollars, or cents at
    Anthropic.
    """
    exponent = amount.as_tuple().exponent
    return min(Decimal(5).scaleb(int(exponent) - 1), _HALF_CENT)


def divide(amount: Decimal, shares: Iterable[int]) -> list[Decimal]:
    """Divide *amount* in proportion to *shares*. The parts sum to *amount* exactly: the largest share gets the remainder."""
    weights = list(shares)
    total = sum(weights)
    with localcontext() as context:
        context.prec = PRECISION
        parts = [(amount * weight / total).quantize(_SMALLEST) if total else Decimal(0) for weight in weights]
        largest = weights.index(max(weights))
        parts[largest] += amount - sum(parts)
    return parts
