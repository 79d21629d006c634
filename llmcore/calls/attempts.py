"""Retry: make another attempt after a temporary error, under one deadline."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from llmcore.calls.deadline import Deadline
from llmcore.calls.steps import sleep
from llmcore.errors import ProviderError
from llmcore.log import get_logger

if TYPE_CHECKING:
    from llmcore.calls.backoff import Backoff

__all__ = ["RetryPolicy", "with_retries"]

T = TypeVar("T")


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The maximum number of attempts of a call, and its timeouts."""

    attempts: int = 4
    """The maximum number of attempts, including the first."""
    deadline_s: float = 600.0
    """Seconds for the whole call, with all attempts, pauses and response bodies. The host enforces it."""
    idle_s: float = 60.0
    """Seconds without a received byte after which a request fails. The provider enforces it."""


def with_retries(
    once: Callable[[], Generator[Any, Any, T]],
    policy: RetryPolicy,
    deadline: Deadline,
    *,
    again: Callable[[ProviderError], bool] = lambda _: True,
    jitter: Callable[[], float] | None = None,
) -> Generator[Any, Any, T]:
    """Run *once* and return its result; retry it after a temporary error.

    An error with `LLMCoreError.answered` is not retried: the server may bill the answer that it sent, and would bill a
    second answer too.

    Args:
        once: Makes one attempt.
        policy: The maximum number of attempts.
        deadline: The deadline of the whole call. If the next pause would end after the deadline, the error is raised
            at once, with a note.
        again: Returns False to forbid a retry that the error would allow.
        jitter: Returns a number from 0 to 1, random by default, so that callers that failed together do not retry
            together.
    """
    backoff: Backoff | None = None
    failure: ProviderError | None = None
    tried = 0
    try:
        while True:
            try:
                return (yield from once())
            except ProviderError as error:
                if not error.retryable or error.answered or not again(error):
                    raise
                failure = error
            if backoff is None:
                # imported after a failure only, because the module loads tenacity
                from llmcore.calls.backoff import Backoff

                backoff = Backoff(policy.attempts, deadline.get_time_left, jitter)
            pause = backoff.compute_pause(failure)
            if pause is None:
                raise failure
            tried += 1
            get_logger(__name__).info(
                "%s failed (%s), retry %d of %d in %.1f s",
                failure.provider or "the provider", failure.code, tried, policy.attempts - 1, pause,
            )  # fmt: skip
            yield sleep(pause)
    finally:
        failure = None  # breaks the reference cycle between the error's traceback and this frame
