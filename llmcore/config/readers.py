"""How single values of a configuration are read: each reader returns the checked value or refuses it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from llmcore.config.mask import is_reference
from llmcore.types import Secret
from llmcore.units import Duration, Size, is_part

__all__ = [
    "MOST_FRACTION",
    "MOST_USD",
    "Reader",
    "address",
    "allowance",
    "choice",
    "command",
    "count",
    "flag",
    "fractions",
    "is_web_address",
    "lifetime",
    "models",
    "named",
    "names",
    "part",
    "period",
    "price",
    "scope",
    "size",
    "text",
]

MOST_USD: Final = 1_000_000_000
"""Above it a book in whole billionths of a dollar would overflow."""

MOST_FRACTION: Final = 10
"""Above it somebody wrote percent."""


class Reader(msgspec.Struct, frozen=True):
    """How one value is read."""

    read: Callable[[Any], Any]
    """Return the checked value; ValueError or TypeError where it does not fit."""
    noun: str
    """What the value should be, after "is not "."""
    expected: str
    example: str
    """A value to paste, as `llmcore config set` takes it."""
    text: bool = False
    """Whether text is wanted, so that a variable's "123" stays text."""


def text(value: Any) -> str:
    """Return text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def lifetime(value: Any) -> float | None:
    """Return seconds; None for "never"."""
    if value == "never":
        return None
    return period(value)


def period(value: Any) -> float:
    """Return seconds, above 0."""
    seconds = float(Duration.parse(value))
    if seconds <= 0:
        raise ValueError
    return seconds


def part(value: Any) -> float | None:
    """Return a number between 0 and 1; None for "never"."""
    if value == "never":
        return None
    if not is_part(value):
        raise ValueError
    return float(value)


def size(value: Any) -> int:
    """Return bytes."""
    return int(Size.parse(value))


def count(value: Any) -> int:
    """Return a whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def names(value: Any) -> tuple[str, ...]:
    """Return a list of texts."""
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(text(item) for item in value)


def models(value: Any) -> tuple[str, ...]:
    """Return the models that a name of [models] stands for."""
    found = (text(value),) if isinstance(value, str) else names(value)
    if not found:
        raise ValueError
    for name in found:
        provider, colon, model = name.partition(":")
        if name != name.strip() or (colon and not (provider.strip() and model.strip())):
            raise ValueError
    return found


def price(value: Any) -> Decimal:
    """Return an exact number of US dollars, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise ValueError from None
    if not usd.is_finite() or usd < 0 or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError
    return usd


def allowance(value: Any) -> tuple[Decimal, str]:
    """Return an amount and its unit: a number of US dollars, or text such as "5.00 USD" or "100_000 characters"."""
    unit = "USD"
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(USD|characters?|chars?)?\s*", value)
        if match is None:
            raise ValueError
        value = match[1].replace("_", "")
        unit = "characters" if (match[2] or unit).startswith("char") else "USD"
    amount = price(value)
    if amount > MOST_USD or (unit == "characters" and amount != int(amount)):
        raise ValueError
    return amount, unit


def fractions(value: Any) -> tuple[float, ...]:
    """Return the fractions in rising order, each once."""
    if not isinstance(value, list | tuple):
        raise TypeError
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | float) or not 0 < item <= MOST_FRACTION:
            raise ValueError
    return tuple(sorted({float(item) for item in value}))


def address(value: Any) -> Any:
    """Return a reference, or an address of the web, as it stands."""
    known = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(known, str) or not (is_reference(known) or is_web_address(known)):
        raise ValueError
    return value


def is_web_address(value: str) -> bool:
    """Tell whether somebody could be reached at *value* by HTTP."""
    return re.fullmatch(r"https?://[^\s/?#@]+(?:@[^\s/?#@]+)?(?:[/?#]\S*)?", value) is not None


def command(value: Any) -> tuple[str, ...]:
    """Return a program and its arguments."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError
    if value:
        text(value[0])
    return tuple(value)


def scope(value: Any) -> str:
    """Return "provider:model", or "provider:" for all models of one."""
    name = text(value)
    provider, colon, model = name.partition(":")
    if not colon or any(part != part.strip() for part in (provider, model)) or not provider:
        raise ValueError
    return name


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def choice(noun: str, expected: str, *choices: str) -> Reader:
    """Return a reader of one of a few words, the first of which is the example."""

    def one(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return Reader(one, noun, expected, choices[0], text=True)


def named(example: str, what: str = "text") -> Reader:
    """Return a reader of plain text."""
    return Reader(text, "text", what, example, text=True)
