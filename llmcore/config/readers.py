"""Read single values of a configuration.

Each reader returns the checked value or raises ValueError or TypeError.
"""

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
    "MAX_FACTOR",
    "MAX_USD",
    "Reader",
    "is_web_address",
    "make_choice",
    "make_text_reader",
    "read_address",
    "read_allowance",
    "read_command",
    "read_count",
    "read_factor",
    "read_flag",
    "read_fractions",
    "read_lifetime",
    "read_mail_addresses",
    "read_models",
    "read_names",
    "read_part",
    "read_period",
    "read_price",
    "read_scope",
    "read_size",
]

MAX_USD: Final = 1_000_000_000
"""Maximum amount in USD. Larger amounts would overflow the ledger, which counts nano-dollars."""

MAX_FACTOR: Final = 1000
"""Maximum of `alert_faster_than`: the factor by which a day may cost more than an average day."""
_MAX_FRACTION: Final = 10
"""Maximum fraction in `alert_at`. A larger number is probably a percentage."""


class Reader(msgspec.Struct, frozen=True):
    """Reads and describes one value."""

    read: Callable[[Any], Any]
    """A function that returns the checked value, or raises ValueError or TypeError if the value is invalid.
    """
    noun: str
    """A noun for the valid values, as in "`ttl` must be a duration"."""
    expected: str
    example: str
    """A value to paste, as an argument of `llmcore config set`."""
    text: bool = False
    """True if the value is text, so that "123" in an environment variable is not parsed as a number."""


def _read_text(value: Any) -> str:
    """Return text, which must not be blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value


def read_lifetime(value: Any) -> float | None:
    """Return seconds; None for "never"."""
    if value == "never":
        return None
    return read_period(value)


def read_period(value: Any) -> float:
    """Return seconds, greater than 0."""
    seconds = float(Duration.parse(value))
    if seconds <= 0:
        raise ValueError
    return seconds


def read_part(value: Any) -> float | None:
    """Return a number between 0 and 1; None for "never"."""
    if value == "never":
        return None
    if not is_part(value):
        raise ValueError
    return float(value)


def read_size(value: Any) -> int:
    """Return a size in bytes."""
    return int(Size.parse(value))


def read_count(value: Any) -> int:
    """Return a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def read_names(value: Any) -> tuple[str, ...]:
    """Return a list of texts."""
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(_read_text(item) for item in value)


def read_models(value: Any) -> tuple[str, ...]:
    """Return the list of models of an alias in [models]."""
    found = (_read_text(value),) if isinstance(value, str) else read_names(value)
    if not found:
        raise ValueError
    for name in found:
        provider, colon, model = name.partition(":")
        if name != name.strip() or (colon and not (provider.strip() and model.strip())):
            raise ValueError
    return found


def read_price(value: Any) -> Decimal:
    """Return an exact number of US dollars of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise ValueError from None
    if not usd.is_finite() or usd < 0 or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError
    return usd


def read_allowance(value: Any) -> tuple[Decimal, str]:
    """Return the amount and the unit of *value*: a number of US dollars, or text such as "100_000 characters"."""
    unit = "USD"
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(USD|characters?|chars?)?\s*", value)
        if match is None:
            raise ValueError
        value = match[1].replace("_", "")
        unit = "characters" if (match[2] or unit).startswith("char") else "USD"
    amount = read_price(value)
    if amount > MAX_USD or (unit == "characters" and amount != int(amount)):
        raise ValueError
    return amount, unit


def read_fractions(value: Any) -> tuple[float, ...]:
    """Return the fractions in ascending order, without duplicates."""
    if not isinstance(value, list | tuple):
        raise TypeError
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int | float) or not 0 < item <= _MAX_FRACTION:
            raise ValueError
    return tuple(sorted({float(item) for item in value}))


def read_factor(value: Any) -> float:
    """Return a number greater than 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 < value <= MAX_FACTOR:
        raise ValueError
    return float(value)


def read_mail_addresses(value: Any) -> tuple[str, ...]:
    """Return one or several e-mail addresses, without names: `ann@example.com`."""
    found = (_read_text(value),) if isinstance(value, str) else read_names(value)
    if not found or not all(
        re.fullmatch(r"[^\s@,;<>\"()\x00-\x1f]+@[^\s@,;<>\"()]+", each) for each in found
    ):
        raise ValueError
    return found


def read_address(value: Any) -> Any:
    """Return a URL, or a reference to one, unchanged."""
    address = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(address, str) or not (is_reference(address) or is_web_address(address)):
        raise ValueError
    return value


def is_web_address(value: str) -> bool:
    """Return whether *value* is an HTTP or HTTPS URL."""
    return re.fullmatch(r"https?://[^\s/?#@]+(?:@[^\s/?#@]+)?(?:[/?#]\S*)?", value) is not None


def read_command(value: Any) -> tuple[str, ...]:
    """Return a program and its arguments."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError
    if value:
        _read_text(value[0])
    return tuple(value)


def read_scope(value: Any) -> str:
    """Return "provider:model", or "provider:" for all models of a provider."""
    name = _read_text(value)
    provider, colon, model = name.partition(":")
    if not colon or any(each != each.strip() for each in (provider, model)) or not provider:
        raise ValueError
    return name


def read_flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


def make_choice(expected: str, *choices: str) -> Reader:
    """Return a reader of one of *choices*; the first is the example."""

    def read_choice(value: Any) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    *others, last = (f'"{each}"' for each in choices)
    return Reader(read_choice, f"{', '.join(others)} or {last}", expected, choices[0], text=True)


def make_text_reader(example: str, what: str = "text") -> Reader:
    """Return a reader of text."""
    return Reader(_read_text, "text", what, example, text=True)
