"""Retry: as many attempts as configured, under one deadline, after the longer of hint and backoff. No clock is waited for."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.calls.attempts import RetryPolicy, with_retries
from llmcore.calls.deadline import Deadline
from llmcore.calls.steps import Step
from llmcore.errors import (
    BadRequest,
    IncompleteReply,
    MalformedReply,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)


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


def collect_outcome(backend: Backend, policy: RetryPolicy, clock: Clock, jitter: float = 1.0) -> str:
    call = with_retries(backend.once, policy, Deadline(policy.deadline_s, clock), jitter=lambda: jitter)
    try:
        while True:
            (seconds,) = next(call).args
            clock.pauses.append(seconds)
            clock.now += seconds
    except StopIteration as stop:
        return str(stop.value)


def test_a_first_success_is_one_attempt_without_a_pause() -> None:
    backend, clock = Backend([]), Clock()
    assert collect_outcome(backend, RetryPolicy(), clock) == "answer"
    assert (backend.asked, clock.pauses) == (1, [])


def test_pauses_double() -> None:
    backend, clock = Backend([Unavailable("down")] * 3), Clock()
    assert collect_outcome(backend, RetryPolicy(attempts=4), clock) == "answer"
    assert clock.pauses == [0.5, 1.0, 2.0]


def test_pauses_end_to_grow_at_half_a_minute() -> None:
    backend, clock = Backend([Unavailable("down")] * 9), Clock()
    assert collect_outcome(backend, RetryPolicy(attempts=10), clock) == "answer"
    assert clock.pauses[-3:] == [30.0, 30.0, 30.0]


def test_jitter_spreads_a_quarter_of_the_pause() -> None:
    for jitter, pauses in ((0.0, [0.375, 0.75]), (0.5, [0.4375, 0.875])):
        backend, clock = Backend([Unavailable("down")] * 2), Clock()
        assert collect_outcome(backend, RetryPolicy(), clock, jitter) == "answer"
        assert clock.pauses == pauses


def test_jitter_is_random_unless_it_is_given() -> None:
    def pause() -> float:
        backend = Backend([Unavailable("down")])
        (seconds,) = next(with_retries(backend.once, RetryPolicy(), Deadline(600.0))).args
        return float(seconds)

    pauses = {pause() for _ in range(20)}
    assert len(pauses) > 1
    assert all(0.375 <= seconds <= 0.5 for seconds in pauses)


@given(st.integers(1, 8))
def test_calls_made_are_the_attempts_configured(configured: int) -> None:
    backend = Backend([Unavailable("down")] * 20)
    with pytest.raises(Unavailable):
        collect_outcome(backend, RetryPolicy(attempts=configured), Clock())
    assert backend.asked == configured


@pytest.mark.parametrize("final", [BadRequest("no"), QuotaExhausted("no money")])
def test_an_error_that_cannot_pass_is_final(final: ProviderError) -> None:
    backend, clock = Backend([final]), Clock()
    with pytest.raises(type(final)):
        collect_outcome(backend, RetryPolicy(), clock)
    assert (backend.asked, clock.pauses) == (1, [])


@pytest.mark.parametrize(
    "final",
    [
        MalformedReply("a page"),
        IncompleteReply("ended in order, without an end", answered=True),
        Unavailable("a plugin may say it of any error", answered=True),
    ],
)
def test_a_complete_answer_is_never_asked_for_again(final: ProviderError) -> None:
    backend, clock = Backend([final]), Clock()
    with pytest.raises(type(final)) as caught:
        collect_outcome(backend, RetryPolicy(), clock)
    assert caught.value is final
    assert (backend.asked, clock.pauses) == (1, [])


def test_a_lost_connection_inside_an_answer_is_retried() -> None:
    backend = Backend([IncompleteReply("reset")])
    assert collect_outcome(backend, RetryPolicy(), Clock()) == "answer"


@pytest.mark.parametrize("hint", [0.0, 0.02, 0.3, -1.0, float("nan")])
def test_a_hint_shorter_than_the_backoff_does_not_shorten_it(hint: float) -> None:
    backend, clock = Backend([RateLimited("slow down", retry_after=hint)] * 3), Clock()
    assert collect_outcome(backend, RetryPolicy(attempts=4), clock) == "answer"
    assert clock.pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_a_longer_hint_is_waited_for_and_spread_by_the_jitter(jitter: float) -> None:
    backend, clock = Backend([RateLimited("slow down", retry_after=42.0)] * 2), Clock()
    assert collect_outcome(backend, RetryPolicy(), clock, jitter) == "answer"
    assert clock.pauses == [42.0 + 0.125 * jitter, 42.0 + 0.25 * jitter]


def test_a_retry_after_beyond_the_deadline_fails_at_once_and_says_so() -> None:
    backend, clock = Backend([RateLimited("slow down", retry_after=3600)]), Clock()
    with pytest.raises(RateLimited) as caught:
        collect_outcome(backend, RetryPolicy(deadline_s=600), clock)
    assert (backend.asked, clock.pauses) == (1, [])
    assert caught.value.retry_after == 3600
    assert str(caught.value).count("would pass the deadline of the call, which is in 600.0 s") == 1


def test_the_error_of_the_last_attempt_is_raised_with_nothing_chained_to_it() -> None:
    errors = [Unavailable("first"), Unavailable("second")]
    with pytest.raises(Unavailable) as caught:
        collect_outcome(Backend(errors), RetryPolicy(attempts=2), Clock())
    assert caught.value is errors[1]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert caught.value.notes == ()


def test_a_call_may_change_threads_between_two_attempts() -> None:
    backend = Backend([Unavailable("down")] * 3)
    call = with_retries(backend.once, RetryPolicy(attempts=4), Deadline(600.0), jitter=lambda: 1.0)
    pauses = []
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            pauses.append(pool.submit(next, call).result().args[0])
    with pytest.raises(StopIteration, match="answer"):
        next(call)
    assert pauses == [0.5, 1.0, 2.0]


def test_tenacity_is_loaded_by_the_first_failure() -> None:
    code = """
import sys
import llmcore, llmcore.core
core = llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"}})
core.llm.chat("Hello"), list(core.llm.stream("Hello"))
assert "tenacity" not in sys.modules
from llmcore.calls.attempts import RetryPolicy, with_retries
from llmcore.calls.deadline import Deadline
from llmcore.errors import Unavailable
def once():
    raise Unavailable("down")
    yield
next(with_retries(once, RetryPolicy(), Deadline(600.0)))
assert "tenacity" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


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
        collect_outcome(backend, RetryPolicy(attempts=configured, deadline_s=deadline_s), clock)
    assert sum(clock.pauses) <= deadline_s * 1.000001  # floats
    assert backend.asked <= configured
