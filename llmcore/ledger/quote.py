"""The quote of a request: its maximum cost, before it is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

__all__ = ["Quote"]


class Quote(Protocol):
    """The maximum cost of a request."""

    def compute_maximum(self, *, exact: bool) -> Decimal:
        """Return the maximum cost in USD.

        Args:
            exact: False for an upper bound that is cheap to compute; True for the lowest bound that can be computed.

        Raises:
            PriceUnknown: The price of the model is unknown.
            BudgetError: The usage has no upper bound.
        """
        ...

    def find_fix(self, left: Decimal) -> str | None:
        """Return a fix that limits the cost of the call to *left* USD, such as a lower `max_tokens`.

        Return None if no such fix exists.
        """
        ...
