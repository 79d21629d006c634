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
    characters: int = 0
    """Characters that were spoken."""
    cost: Decimal = Decimal(0)
    """USD of the calls whose price is known."""
    unpriced: int = 0
    """Calls that were answered at an unknown price; `cost` does not hold them."""
    uncertain: Decimal = Decimal(0)
    """USD at most, beside `cost`, of requests whose end nobody told: cancelled, cut off, timed out."""
    saved: Decimal = Decimal(0)
    """USD that the cache saved."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Meter:
    """Adds up the calls of one Core. Threads may use it at once."""

    def __init__(self) -> None:
        # The garbage collector may end a call in a thread that is adding up already.
        self._lock = threading.RLock()
        self.reset()

    def book(self, event: CallEvent) -> None:
        """Add one call that has ended."""
        with self._lock:
            self._input += event.usage.input_tokens
            self._output += event.usage.output_tokens
            self._characters += event.characters
            self._cost += event.cost or 0
            if event.error is not None:  # of a text that broke off, what was spoken before is paid for
                self._failures += 1
                return
            self._calls += 1
            if event.cost is None:
                self._unpriced += 1

    def hit(self, saved: Decimal | None) -> None:
        """Add one answer from the cache."""
        with self._lock:
            self._cached += 1
            if saved:
                self._saved += saved

    def lost(self, cost: Decimal | None) -> None:
        """Add what a request can have cost whose end nobody told."""
        with self._lock:
            self._uncertain += cost or 0

    def totals(self) -> Totals:
        """Return the sums since the beginning, or since `reset`."""
        with self._lock:
            return Totals(
                calls=self._calls,
                failures=self._failures,
                cached=self._cached,
                input_tokens=self._input,
                output_tokens=self._output,
                characters=self._characters,
                cost=self._cost,
                unpriced=self._unpriced,
                uncertain=self._uncertain,
                saved=self._saved,
            )

    def reset(self) -> None:
        """Begin again at zero."""
        with self._lock:
            self._calls = self._failures = self._cached = self._input = self._output = 0
            self._characters = self._unpriced = 0
            self._cost = self._uncertain = self._saved = Decimal(0)
