"""Amounts in a ledger: integers of nano-dollars or characters, so that sums are exact."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Final

__all__ = [
    "CHARACTERS",
    "USD",
    "format_amount",
    "from_integer",
    "from_nano",
    "to_integer",
    "to_nano",
]

USD: Final = "USD"
CHARACTERS: Final = "characters"

_NANO: Final = Decimal(10**9)


def to_nano(dollars: Decimal) -> int:
    """Return *dollars* in nano-dollars, rounded up, so that an amount is never booked too low."""
    return int((dollars * _NANO).to_integral_value(ROUND_CEILING))


def from_nano(nanos: int) -> Decimal:
    """Return nano-dollars as dollars, without trailing zeros."""
    dollars = Decimal(nanos).scaleb(-9).normalize()
    return dollars if dollars.as_tuple().exponent in range(-9, 1) else dollars.quantize(Decimal(1))


def to_integer(amount: Decimal, unit: str) -> int:
    """Return *amount* as the ledger stores it: nano-dollars or characters."""
    return int(amount) if unit == CHARACTERS else to_nano(amount)


def from_integer(count: int, unit: str) -> Decimal:
    """Return an amount of the ledger in *unit*: dollars or characters."""
    return Decimal(count) if unit == CHARACTERS else from_nano(count)


def format_amount(amount: Decimal | None, unit: str = USD) -> str:
    """Return *amount* as text. Dollars have at least two decimals and all significant digits."""
    if amount is None:
        return "unknown"
    if unit == CHARACTERS:
        return f"{amount:,} characters"
    cents = amount.quantize(Decimal("0.01"))
    return f"${cents if cents == amount else amount.normalize():f}"
