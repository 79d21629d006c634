"""The pause before a retry: exponential backoff with jitter, never shorter than the server's hint.

Built on tenacity. `attempts` imports this module after the first failure, so that a call without failures never loads
tenacity.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import tenacity  # noqa: TID253 - this module is loaded only after a failure

from llmcore.errors import ProviderError

__all__ = ["Backoff"]

_EXPONENTIAL: Final = tenacity.wait_exponential(multiplier=0.5, exp_base=2, max=30)
"""The backoff in seconds: 0.5, 1, 2, 4, 8, 16, 30, 30, ..."""
_SPREAD: Final = 0.25
"""The fraction of the backoff that is random."""


class Backoff:
    """Decides after each failed attempt of a call whether to retry, and when."""

    def __init__(
        self, attempts: int, left: Callable[[], float], jitter: Callable[[], float] | None = None
    ) -> None:
        """Prepare for the attempts of one call.

        Args:
            attempts: The maximum number of attempts, including the first.
            left: Returns the seconds until the deadline of the call.
            jitter: Returns a number from 0 to 1; the default is random.
        """
        self._attempts_used = tenacity.stop_after_attempt(attempts)
        self._left = left
        self._jitter = random.random if jitter is None else jitter
        self._failed = 0
        self._retrying = tenacity.Retrying(
            stop=self._is_last,
            wait=self._wait,
            retry_error_callback=_give_up,
        )

    def compute_pause(self, failure: ProviderError) -> float | None:
        """Return the pause in seconds before the next attempt; None if *failure* is final.

        If only the deadline forbids the next attempt, add a note to *failure*.
        """
        self._failed += 1
        state = tenacity.RetryCallState(self._retrying, None, (), {})
        state.attempt_number = self._failed
        state.set_exception((type(failure), failure, failure.__traceback__))
        try:
            # `begin` creates tenacity's statistics for this thread: each attempt of a call may run in another thread.
            self._retrying.begin()
            action = self._retrying.iter(state)
        finally:
            # Break the reference cycle: the state refers to the failure, whose traceback refers to this frame.
            state.outcome = None
        return float(action) if isinstance(action, tenacity.DoSleep) else None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Return the longer of the server's hint and three quarters of the backoff, plus jitter.

        The jitter is at most one quarter of the backoff, and never shortens a hint. Jitter is also added to a hint,
        because all refused callers receive the same hint.
        """
        backoff = _EXPONENTIAL(state)
        hint = _get_failure(state).retry_after or 0.0
        return max(backoff * (1 - _SPREAD), hint) + backoff * _SPREAD * self._jitter()

    def _is_last(self, state: tenacity.RetryCallState) -> bool:
        if self._attempts_used(state):
            return True
        pause, left = state.upcoming_sleep, self._left()
        if pause < left:
            return False
        _get_failure(state).notes += (
            f"a retry in {pause:.1f} s would pass the deadline of the call, which is in {max(left, 0.0):.1f} s",
        )
        return True


def _get_failure(state: tenacity.RetryCallState) -> ProviderError:
    failure = None if state.outcome is None else state.outcome.exception()
    if isinstance(failure, ProviderError):
        return failure
    raise TypeError("failure must be a ProviderError")


def _give_up(state: tenacity.RetryCallState) -> None:
    """Suppress tenacity's own error. The caller raises the failure."""
