"""Money as the ledger keeps it: whole nano-dollars, so that sums are exact."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Final

__all__ = ["nano", "shown", "usd"]

_NANO: Final = Decimal(10**9)


def nano(dollars: Decimal) -> int:
    """Return *dollars* in nano-dollars; a part of one counts as one, since nothing is ever booked too low."""
    return int((dollars * _NANO).to_integral_value(ROUND_CEILING))


def usd(nanos: int) -> Decimal:
    """Return nano-dollars in dollars, without zeros at the end."""
    dollars = Decimal(nanos).scaleb(-9).normalize()
    return dollars if dollars.as_tuple().exponent in range(-9, 1) else dollars.quantize(Decimal(1))


def shown(dollars: Decimal | None) -> str:
    """Return *dollars* for people: at least cents, and every digit that is not zero."""
    if dollars is None:
        return "unknown"
    cents = dollars.quantize(Decimal("0.01"))
    return f"${cents if cents == dollars else dollars.normalize():f}"
