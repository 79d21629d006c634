"""The billed prices of models that the ledger has booked at different prices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from llmcore.ledger.reconciliation.booked_requests import BookedRequests
from llmcore.support import bills
from llmcore.support.bills import BillLine, BillUsage

__all__ = ["BilledPrice", "PriceSums"]

_KEYS: Final[Mapping[str, str]] = {
    bills.INPUT: "input", bills.OUTPUT: "output", bills.CACHED_INPUT: "cached_input", bills.CACHE_WRITE: "cache_write",
    bills.CACHE_WRITE_LONG: "cache_write_12h", bills.AUDIO_INPUT: "audio_input", bills.AUDIO_OUTPUT: "audio_output",
    bills.CHARACTERS: "characters",
}  # fmt: skip
"""Kind of token -> key of [prices]."""
_MILLION: Final = 1_000_000
_DIGITS: Final = Decimal("0.0001")


class BilledPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The price of one model on the bill."""

    model: str
    names: tuple[str, ...]
    """The names that the ledger has for the model. They are keys of [prices]."""
    factor: Decimal
    """The billed cost of the tokens divided by their cost in the ledger; 0 if their cost in the ledger is 0."""
    rates: Mapping[str, Decimal]
    """Key of [prices] -> USD for a million tokens, as an average over the period, rounded to four decimals."""


class PriceSums:
    """Adds up the days of one model on which the billed price differs from the booked one."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._booked = self._difference = Decimal(0)
        self._amounts: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._counts: Counter[str] = Counter()

    def add(
        self,
        booked: BookedRequests,
        difference: Decimal,
        lines: Iterable[BillLine],
        usage: Iterable[BillUsage],
    ) -> None:
        """Add a day.

        *difference* is the part of the day's difference, in USD, that the prices explain: the cause `price` in
        `causes.CAUSES`.
        """
        self._names |= booked.names
        self._booked += booked.cost
        self._difference += difference
        for line in lines:
            if line.own and line.kind is not None:
                self._amounts[line.kind] += line.amount
        for row in usage:
            if row.own:
                self._counts.update(row.amounts)

    def make_price(self, model: str) -> BilledPrice:
        """Return the price of *model*."""
        rates = {
            key: (self._amounts[kind] * _MILLION / self._counts[kind]).quantize(_DIGITS).normalize()
            for kind, key in _KEYS.items()
            if self._amounts[kind] and self._counts[kind]
        }
        factor = 1 + self._difference / self._booked if self._booked else Decimal(0)
        return BilledPrice(model=model, names=tuple(sorted(self._names)), factor=factor, rates=rates)
