"""Totals of the usage and cost of the calls of one Core, kept in memory."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from llmcore import forks
from llmcore.types import CallEvent

__all__ = ["Meter", "Totals"]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over calls that reached a backend; cache hits are counted separately."""

    calls: int = 0
    """The number of calls that a backend answered."""
    failures: int = 0
    """The number of calls that ended in an error, except calls that were refused before a request was made."""
    cached: int = 0
    """The number of calls that the cache answered."""
    input_tokens: int = 0
    """All input tokens, including cached tokens."""
    output_tokens: int = 0
    """All output tokens, including reasoning."""
    characters: int = 0
    """Characters of synthesized text."""
    cost: Decimal = Decimal(0)
    """USD of the calls with a known price."""
    unpriced: int = 0
    """The number of calls that were answered at an unknown price. `cost` does not include them."""
    uncertain: Decimal = Decimal(0)
    """The maximum cost in USD of requests with an unknown outcome (cancelled, cut off, timed out).

    `cost` does not include it.
    """
    saved: Decimal = Decimal(0)
    """USD that the cache saved."""

    @property
    def total_tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens


class Meter:
    """Sums up the calls of one Core. The class is thread-safe."""

    def __init__(self) -> None:
        # Re-entrant: the garbage collector may end a call in a thread that already holds the lock.
        self._lock = forks.lock()
        self.reset()

    def record_call(self, event: CallEvent, *, asked: bool = True) -> None:
        """Add one call that has ended. A failure counts only if a request was made."""
        with self._lock:
            self._input += event.usage.input_tokens
            self._output += event.usage.output_tokens
            self._characters += event.characters
            # A failed call may have a cost: the pieces before the failed piece were paid for.
            self._cost += event.cost or 0
            if event.error is not None:
                self._failures += asked
                return
            self._calls += 1
            if event.cost is None:
                self._unpriced += 1

    def record_hit(self, saved: Decimal | None) -> None:
        """Add one answer from the cache."""
        with self._lock:
            self._cached += 1
            if saved:
                self._saved += saved

    def record_lost(self, cost: Decimal | None) -> None:
        """Add the maximum cost of a request with an unknown outcome."""
        with self._lock:
            self._uncertain += cost or 0

    def get_totals(self) -> Totals:
        """Return the sums since the start, or since `reset`."""
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
        """Set all sums to zero."""
        with self._lock:
            self._calls = self._failures = self._cached = self._input = self._output = 0
            self._characters = self._unpriced = 0
            self._cost = self._uncertain = self._saved = Decimal(0)
