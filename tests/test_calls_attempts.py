"""Attempts: exactly as many as configured, under one deadline, and Retry-After is obeyed. No clock is waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.calls.attempts import Deadline, RetryPolicy, attempts
from llmcore.calls.steps import Step
from llmcore.errors import BadRequest, ProviderError, QuotaExhausted, RateLimited, Unavailable


class Clock:
    """Time that passes only when a call sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now


class Backend:
    """Fails with each of *errors* in turn, then answers; counts how often it was asked."""

    def __init__(self, errors: Sequence[ProviderError]) -> None:
        self.errors = list(errors)
        self.asked = 0

    def once(self) -> Generator[Step, Any, str]:
        self.asked += 1
        yield from ()
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def outcome(backend: Backend, policy: RetryPolicy, clock: Clock) -> str:
    call = attempts(backend.once, policy, Deadline(policy.deadline_s, clock), jitter=lambda: 1.0)
    try:
        while True:
            (seconds,) = next(call).args
            clock.pauses.append(seconds)
            clock.now += seconds
    except StopIteration as stop:
        return str(stop.value)


def test_a_first_success_is_one_attempt_without_a_pause() -> None:
    backend, clock = Backend([]), Clock()
    assert outcome(backend, RetryPolicy(), clock) == "answer"
    assert (backend.asked, clock.pauses) == (1, [])


def test_pauses_double() -> None:
    backend, clock = Backend([Unavailable("down")] * 3), Clock()
    assert outcome(backend, RetryPolicy(attempts=4), clock) == "answer"
    assert clock.pauses == [0.5, 1.0, 2.0]


@given(st.integers(1, 8))
def test_calls_made_are_the_attempts_configured(configured: int) -> None:
    backend = Backend([Unavailable("down")] * 20)
    with pytest.raises(Unavailable):
        outcome(backend, RetryPolicy(attempts=configured), Clock())
    assert backend.asked == configured


@pytest.mark.parametrize("final", [BadRequest("no"), QuotaExhausted("no money")])
def test_an_error_that_cannot_pass_is_final(final: ProviderError) -> None:
    backend, clock = Backend([final]), Clock()
    with pytest.raises(type(final)):
        outcome(backend, RetryPolicy(), clock)
    assert (backend.asked, clock.pauses) == (1, [])


@pytest.mark.parametrize("asked_for", [0.0, 0.02, 1.0, 42.0])
def test_retry_after_is_obeyed_to_the_letter(asked_for: float) -> None:
    backend, clock = Backend([RateLimited("slow down", retry_after=asked_for)]), Clock()
    assert outcome(backend, RetryPolicy(), clock) == "answer"
    assert clock.pauses == [asked_for]


def test_a_retry_after_beyond_the_deadline_fails_at_once_and_says_so() -> None:
    backend, clock = Backend([RateLimited("slow down", retry_after=3600)]), Clock()
    with pytest.raises(RateLimited) as caught:
        outcome(backend, RetryPolicy(deadline_s=600), clock)
    assert (backend.asked, clock.pauses) == (1, [])
    assert caught.value.retry_after == 3600
    assert "would pass the deadline" in str(caught.value)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=12),
    st.integers(1, 10),
    st.floats(0.1, 200),
)
def test_no_sleep_ever_passes_the_deadline(
    retry_afters: list[float | None], configured: int, deadline_s: float
) -> None:
    backend = Backend([RateLimited("slow down", retry_after=seconds) for seconds in retry_afters])
    clock = Clock()
    with contextlib.suppress(RateLimited):
        outcome(backend, RetryPolicy(attempts=configured, deadline_s=deadline_s), clock)
    assert sum(clock.pauses) <= deadline_s * 1.000001  # floats
    assert backend.asked <= configured
