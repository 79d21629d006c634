"""Attempts under one deadline: the only place in llmcore that tries again."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

import msgspec

from llmcore.calls.steps import sleep
from llmcore.errors import ProviderError, Timeout

__all__ = ["Deadline", "RetryPolicy", "Shared", "attempts"]

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long a call is tried."""

    attempts: int = 4
    """In all, the first one counted."""
    deadline_s: float = 600.0
    """Seconds over all attempts, pauses and bodies."""
    idle_s: float = 60.0
    """Longest silence inside one answer, in seconds."""


class Deadline:
    """The moment at which a call must have ended."""

    __slots__ = ("_at", "_clock", "_seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = seconds
        self._at = clock() + seconds

    def start(self) -> None:
        """Begin to count now."""
        self._at = self._clock() + self._seconds

    def left(self) -> float:
        """Return the seconds that are left; below zero when it has passed."""
        return self._at - self._clock()


class Shared(Deadline):
    """A deadline that others decide."""

    __slots__ = ("_left",)

    def __init__(self, left: Callable[[], float]) -> None:
        super().__init__(0.0)
        self._left = left

    def left(self) -> float:
        """See `Deadline.left`."""
        return self._left()


def attempts(
    once: Callable[[], Generator[Any, Any, T]],
    policy: RetryPolicy,
    deadline: Deadline,
    *,
    again: Callable[[ProviderError], bool] = lambda _: True,
    jitter: Callable[[], float] | None = None,
) -> Generator[Any, Any, T]:
    """Carry out *once* until it succeeds, the attempts are used up or the deadline would pass.

    Args:
        once: Makes one attempt.
        policy: Bounds.
        deadline: Of the whole call; another attempt is not begun, and no pause slept, beyond it.
        again: Has the last word on whether an error that may pass is tried again.
        jitter: Between 0 and 1: spreads the pauses of callers that failed together.
    """
    for attempt in range(1, policy.attempts + 1):
        failure: ProviderError | None = None
        try:
            return (yield from once())
        except ProviderError as error:
            if attempt == policy.attempts or not error.retryable or not again(error):
                raise
            failure = error
        pause = _pause(attempt, failure.retry_after, jitter)
        if pause >= deadline.left():
            failure.notes += (f"another attempt in {pause:.1f} s would pass the deadline of the call",)
            raise failure
        yield sleep(pause)
    raise Timeout("no attempt was allowed", expected="[retry] attempts of at least 1")


def _pause(attempt: int, retry_after: float | None, jitter: Callable[[], float] | None) -> float:
    """Return the seconds to wait: what the backend asked for, else doubling, a quarter of it by chance."""
    if retry_after is not None:
        return max(0.0, retry_after)
    if jitter is None:
        import random  # only after a failure: it costs more than a cached answer

        jitter = random.random
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1)) * (0.75 + 0.25 * jitter())
