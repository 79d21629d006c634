"""Health of a cache backend: the failing operations with their causes, and the causes that were reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from llmcore import forks

__all__ = ["MAX_CAUSES", "QUIET_S", "Health"]

QUIET_S: Final = 60.0
"""Minimum seconds between two reports of one cause.

The limit matters if an operation fails and succeeds alternately.
"""
MAX_CAUSES: Final = 16
"""Maximum number of causes to remember per operation.

The limit bounds the memory if every message of a backend is different.
"""


class Health:
    """The last failure of each operation. Operations are independent of each other.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = forks.lock()
        self.failing: dict[str, str] = {}
        """Operation -> cause, for operations whose last call failed."""
        self._reported: dict[str, dict[str, float]] = {}
        """Operation -> cause -> time of the report."""

    def record_success(self, operation: str) -> None:
        """Record that *operation* works."""
        if self.failing:  # without failures, a hit needs no lock
            with self._lock:
                self.failing.pop(operation, None)

    def record_failure(self, operation: str, cause: str) -> bool:
        """Record a failure; return whether to report it.

        A cause is reported once while the operation keeps failing for this cause, and at most once in
        `QUIET_S` seconds.
        """
        now = self._clock()
        with self._lock:
            repeated = self.failing.get(operation) == cause
            self.failing[operation] = cause
            reported = self._reported.setdefault(operation, {})
            last = reported.get(cause)
            if last is not None and (repeated or now < last + QUIET_S):
                return False
            reported.pop(cause, None)
            reported[cause] = now
            if len(reported) > MAX_CAUSES:
                del reported[next(iter(reported))]
            return True

    def as_dict(self) -> dict[str, str]:
        """Return the operations whose last call failed, each with the cause."""
        with self._lock:
            return dict(self.failing)
