"""The deadline of a call: the moment at which the call ends, with all its attempts."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Deadline", "SharedDeadline"]


class Deadline:
    """The moment at which a call must have ended."""

    __slots__ = ("_at", "_clock", "_seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = seconds
        self._at = clock() + seconds

    def start(self) -> None:
        """Set the deadline to the full time of the call from now."""
        self._at = self._clock() + self._seconds

    def get_time_left(self) -> float:
        """Return the remaining seconds; negative after the deadline."""
        return self._at - self._clock()


class SharedDeadline(Deadline):
    """The deadline of a shared call: the latest deadline of its callers."""

    __slots__ = ("_left",)

    def __init__(self, left: Callable[[], float]) -> None:
        super().__init__(0.0)
        self._left = left

    def get_time_left(self) -> float:
        """See `Deadline.get_time_left`."""
        return self._left()
