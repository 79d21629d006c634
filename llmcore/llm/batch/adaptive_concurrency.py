"""Adaptive concurrency: allow more requests in flight while the server answers, and half as many after a 429 (AIMD)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["ConcurrencyController"]

_FIRST: Final = 8
_MOST: Final = 256
_BURST_S: Final = 1.0
"""A refusal within this many seconds after a cut does not halve the concurrency again.

It probably belongs to a request that was in flight at the cut.
"""
_LEAST: Final = 0.25
"""After a cut, the ceiling assumes that the server accepted at least this share of the earlier concurrency."""
_BELOW: Final = 0.95
"""After a cut, the concurrency grows quickly up to this share of the concurrency that the server accepted."""
_ROUNDS: Final = 8
"""The first round above the ceiling adds one divided by this number to the concurrency; see `ConcurrencyController.grow`."""


class ConcurrencyController:
    """The concurrency of one run.

    Args:
        fixed: A fixed number of requests; if None, the number adapts to the server.
        clock: Returns monotonic seconds.
    """

    def __init__(self, fixed: int | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = float(fixed or _FIRST)
        """The number of requests that may be in flight."""
        self._fixed = fixed is not None
        self._clock = clock
        self._ceiling = float(_MOST)
        """The limit below which the concurrency grows quickly."""
        self._slow = 0.0
        """The amount by which the concurrency has grown above the ceiling since the last cut."""
        self._burst_from = self.limit
        """The concurrency before the last cut."""
        self._refused = 0
        """The number of refusals since the last cut, including the one that caused it."""
        self._cut_at = float("-inf")

    def grow(self) -> None:
        """Raise the concurrency after an answer.

        A round is one answer for each request in flight. Below the ceiling, the concurrency grows by half with each
        round. Above the ceiling, the first round adds about an eighth of a request. Later rounds add more while the
        server refuses nothing, because it may accept more than before.
        """
        if self._fixed:
            return
        if self.limit < self._ceiling:
            self.limit = min(self.limit + 0.5, float(_MOST))
            return
        step = (1.0 + self._slow) / (_ROUNDS * self.limit)
        self._slow += step
        self.limit = min(self.limit + step, float(_MOST))

    def cut(self) -> None:
        """Lower the concurrency after the server refused a request because it received too many requests.

        The first refusal halves the concurrency. The server is then assumed to accept the earlier concurrency minus the
        number of refusals, but at least the share `_LEAST` of it. The new ceiling is `_BELOW` times that number.
        """
        if self._fixed:
            return
        now = self._clock()
        if now - self._cut_at >= _BURST_S:
            self._cut_at, self._burst_from, self._refused, self._slow = now, self.limit, 0, 0.0
            self.limit = max(1.0, self.limit / 2)
        self._refused += 1
        accepted = max(self._burst_from - self._refused, self._burst_from * _LEAST)
        self._ceiling = max(1.0, accepted * _BELOW)
        self.limit = min(self.limit, self._ceiling)
