"""Amounts as the ledger keeps them, whole numbers, so that sums are exact: nano-dollars, and characters that are spoken."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Final, NamedTuple

__all__ = ["CHARACTERS", "USD", "Amount", "nano", "shown", "told", "usd", "whole"]

USD: Final = "USD"
CHARACTERS: Final = "characters"

_NANO: Final = Decimal(10**9)


class Amount(NamedTuple):
    """What one request takes of every kind of budget."""

    nanos: int = 0
    characters: int = 0

    def of(self, unit: str) -> int:
        """Return what a budget in *unit* counts."""
        return self.characters if unit == CHARACTERS else self.nanos


def nano(dollars: Decimal) -> int:
    """Return *dollars* in nano-dollars; a part of one counts as one, since nothing is ever booked too low."""
    return int((dollars * _NANO).to_integral_value(ROUND_CEILING))


def usd(nanos: int) -> Decimal:
    """Return nano-dollars in dollars, without zeros at the end."""
    dollars = Decimal(nanos).scaleb(-9).normalize()
    return dollars if dollars.as_tuple().exponent in range(-9, 1) else dollars.quantize(Decimal(1))


def whole(amount: Decimal, unit: str) -> int:
    """Return an amount of *unit* as the ledger counts it."""
    return int(amount) if unit == CHARACTERS else nano(amount)


def told(count: int, unit: str) -> Decimal:
    """Return what the ledger counts in *unit* as people are told it: dollars, or characters."""
    return Decimal(count) if unit == CHARACTERS else usd(count)


def shown(amount: Decimal | None, unit: str = USD) -> str:
    """Return *amount* for people: of dollars at least cents, and every digit that is not zero."""
    if amount is None:
        return "unknown"
    if unit == CHARACTERS:
        return f"{amount:,} characters"
    cents = amount.quantize(Decimal("0.01"))
    return f"${cents if cents == amount else amount.normalize():f}"
