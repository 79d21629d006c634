"""Totals of what this process's calls used and cost."""

from __future__ import annotations

import threading
from decimal import Decimal

import msgspec

from llmcore.types import CallEvent

__all__ = ["Meter", "Totals"]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over calls that reached a backend; answers from the cache are counted apart."""

    calls: int = 0
    """Calls that a backend answered."""
    failures: int = 0
    """Calls that ended in an error."""
    cached: int = 0
    """Calls that the cache answered."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    """USD of the calls whose price is known."""
    unpriced: int = 0
    """Calls that were answered at an unknown price; `cost` does not hold them."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Meter:
    """Adds up the calls of one Core. Threads may use it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals = Totals()

    def book(self, event: CallEvent) -> None:
        """Add one call that has ended."""
        with self._lock:
            old = self._totals
            if event.error is not None:
                self._totals = msgspec.structs.replace(old, failures=old.failures + 1)
            elif event.cached:
                self._totals = msgspec.structs.replace(old, cached=old.cached + 1)
            else:
                self._totals = Totals(
                    calls=old.calls + 1,
                    failures=old.failures,
                    cached=old.cached,
                    input_tokens=old.input_tokens + event.usage.input_tokens,
                    output_tokens=old.output_tokens + event.usage.output_tokens,
                    cost=old.cost + (event.cost or 0),
                    unpriced=old.unpriced + (event.cost is None),
                )

    def totals(self) -> Totals:
        """Return the sums since the beginning, or since `reset`."""
        return self._totals

    def reset(self) -> None:
        """Begin again at zero."""
        with self._lock:
            self._totals = Totals()
