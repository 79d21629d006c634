"""Rate limits in a world whose clock is ours: rate, burst, order, refunds, refusals."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.calls.limits import Limits, Permit
from llmcore.config import LimitRule
from llmcore.errors import RateLimited
from llmcore.types import RateLimits
from tests.kits.limits import MODEL, World, check_windows


@pytest.mark.parametrize("waiters", [20, 200, 1000])
@pytest.mark.parametrize("per_minute", [30, 500, 30_000])
def test_many_waiters_get_the_rate_within_one_percent_though_they_wake_late(
    waiters: int, per_minute: int
) -> None:
    world = World({"": LimitRule(requests_per_minute=per_minute)}, late_s=0.01)
    rate = per_minute / 60
    burst = max(1.0, rate)
    for _ in range(waiters + int(burst)):
        world.call()
    world.run()
    assert len(world.sent) == waiters + int(burst)
    took = world.sent[-1].at - world.sent[0].at
    assert took == pytest.approx((len(world.sent) - burst) / rate, rel=0.01, abs=0.011)
    check_windows([(sent.at, 1) for sent in world.sent[-300:]], rate, burst)
    ats = [sent.at for sent in sorted(world.sent, key=lambda sent: sent.caller)]
    assert ats == sorted(ats)


def test_a_waiting_call_sleeps_once() -> None:
    world = World({"": LimitRule(requests_per_minute=60)})
    for _ in range(200):
        world.call()
    assert len(world.run().sent) == 200
    assert world.wakes == 199


calls = st.lists(
    st.fixed_dictionaries(
        {
            "after": st.floats(0, 30),
            "tokens": st.integers(0, 5000),
            "part": st.floats(0, 1),
            "lasts": st.floats(0, 20),
            "model": st.sampled_from(["a", "b", "c"]),
            "leaves": st.none() | st.floats(0, 60),
            "timeout": st.just(float("inf")) | st.floats(0, 60),
        }
    ),
    max_size=40,
)
rates = st.none() | st.integers(1, 100_000)


@pytest.mark.slow
@given(
    calls,
    st.builds(LimitRule, rates, rates, st.none() | st.integers(1, 5)),
    st.builds(LimitRule, rates, rates, st.none() | st.integers(1, 3)),
    st.sampled_from([0.0, 0.3]),
)
@settings(deadline=None, max_examples=200)
def test_no_window_exceeds_rate_and_burst_after_refunds_and_cancellations(
    calls: list[dict[str, Any]], common: LimitRule, own: LimitRule, late_s: float
) -> None:
    world = World({"": common, "openai:a": own}, late_s=late_s)
    for call in calls:
        tokens: int = call["tokens"]
        number = world.call(
            after=call["after"],
            tokens=tokens,
            used=int(tokens * call["part"]),
            lasts=call["lasts"],
            model=call["model"],
            timeout=call["timeout"],
        )
        if call["leaves"] is not None:
            world.cancel(number, after=call["after"] + call["leaves"])
    world.run()
    assert world.in_flight == 0
    for limit, sent in ((common, world.sent), (own, [each for each in world.sent if each.model == "a"])):
        if limit.requests_per_minute:
            rate = limit.requests_per_minute / 60
            check_windows([(each.at, 1) for each in sent], rate, max(1.0, rate))
        if limit.tokens_per_minute:
            rate = limit.tokens_per_minute / 60
            largest = max((each.booked for each in sent), default=0)
            check_windows([(each.at, each.used) for each in sent], rate, max(1.0, rate, largest))
    if common.concurrency:
        assert world.most_in_flight <= common.concurrency
    queue = world.limits._providers.get(MODEL[0])
    if queue is not None:
        assert not queue.busy
        assert queue.shared.busy == 0
        assert all(abs(bucket.ahead) < 1e-6 for bucket in queue.shared.buckets)


def test_a_call_without_a_rule_does_not_wait() -> None:
    world = World({"anthropic": LimitRule(requests_per_minute=1), "openai:other": LimitRule(concurrency=1)})
    for _ in range(100):
        world.call(tokens=10**9)
    world.run()
    assert {sent.at for sent in world.sent} == {1000.0}


def test_the_common_rule_holds_for_every_provider_by_itself() -> None:
    limits = Limits({"": LimitRule(requests_per_minute=1)}, clock=lambda: 0.0)
    for provider in ("openai", "anthropic"):
        with pytest.raises(StopIteration):
            next(limits.acquire(provider, "m", 0, lambda: 0.0))


def test_of_two_rules_for_the_same_calls_the_stricter_one_holds() -> None:
    world = World(
        {"": LimitRule(requests_per_minute=60, concurrency=9), "openai": LimitRule(requests_per_minute=6)}
    )
    for _ in range(3):
        world.call()
    assert [sent.at for sent in world.run().sent] == [1000.0, 1010.0, 1020.0]


def test_a_request_larger_than_the_burst_goes_when_all_before_it_is_paid_for() -> None:
    world = World({"": LimitRule(tokens_per_minute=60_000)})
    for tokens in (10_000, 500, 500, 500):
        world.call(tokens=tokens)
    assert [sent.at for sent in world.run().sent] == [1000.0, 1009.5, 1010.0, 1010.5]


def test_a_large_request_is_not_starved_by_small_ones_to_other_models() -> None:
    world = World({"": LimitRule(tokens_per_minute=60_000)})
    world.call(tokens=1000)
    large = world.call(tokens=30_000, model="large")
    for number in range(100):
        world.call(tokens=100, model=f"small {number}", after=number / 10)
    world.run()
    assert world.sent[1].caller == large
    assert world.sent[1].at == pytest.approx(1001.0)


def test_a_slow_model_does_not_hold_back_the_others() -> None:
    world = World({"": LimitRule(requests_per_minute=600), "openai:slow": LimitRule(requests_per_minute=1)})
    for _ in range(50):
        world.call(model="slow")
    for _ in range(15):
        world.call(after=0.01, model="fast", timeout=2.0)
    world.run()
    assert max(sent.at for sent in world.sent if sent.model == "fast") < 1002.0
    assert not world.refused
    slow = [sent.at for sent in world.sent if sent.model == "slow"]
    assert slow == pytest.approx([1000.0 + 60 * number for number in range(50)])


def test_refunded_tokens_wake_waiting_calls() -> None:
    world = World({"": LimitRule(tokens_per_minute=60_000)})
    for _ in range(20):
        world.call(tokens=4000, used=400, lasts=0.5)
    world.run()
    # Booked alone, they would have taken 76 s; each waits for the reply before it.
    assert world.sent[-1].at - world.sent[0].at == pytest.approx(19 * 0.5)


def test_usage_above_the_booking_is_booked_afterwards() -> None:
    world = World({"": LimitRule(tokens_per_minute=60_000)})
    world.call(tokens=1000, used=6000, lasts=1.0)
    world.call(tokens=1000, after=2.0)
    assert [sent.at for sent in world.run().sent] == [1000.0, pytest.approx(1006.0)]


def take(limits: Limits, tokens: int) -> Permit:
    with pytest.raises(StopIteration) as given:
        next(limits.acquire(*MODEL, tokens, lambda: 0.0))
    permit = given.value.value
    assert isinstance(permit, Permit)
    return permit


def test_a_call_with_unknown_usage_stays_booked() -> None:
    limits = Limits({"": LimitRule(tokens_per_minute=60)}, clock=lambda: 0.0)
    limits.release(take(limits, 30), None)
    with pytest.raises(RateLimited) as caught:
        next(limits.acquire(*MODEL, 1, lambda: 0.0))
    assert caught.value.retry_after == 30.0


def test_a_turn_is_done_once() -> None:
    limits = Limits({"": LimitRule(tokens_per_minute=60, concurrency=2)}, clock=lambda: 0.0)
    first, second = take(limits, 1), take(limits, 0)
    for _ in range(3):
        limits.release(first, 0)
    assert limits._providers[MODEL[0]].shared.busy == 1
    limits.release(second, 0)
    take(limits, 1)


def test_a_turn_that_is_done_while_others_are_held_off_is_done_when_they_are_let_in() -> None:
    limits = Limits({"": LimitRule(concurrency=1)})
    permit = take(limits, 0)
    queue = limits._providers[MODEL[0]]
    with queue.lock:  # as when the garbage collector closes a call in the middle of another
        limits.release(permit, 0)
        assert not permit.released
    queue.drain()
    assert permit.released
    take(limits, 0)


def test_a_turn_that_would_come_too_late_is_refused_at_once_and_books_nothing() -> None:
    world = World({"": LimitRule(requests_per_minute=6)})
    world.call()
    world.call(timeout=60)
    for _ in range(10):
        world.call(timeout=5)
    world.call(after=0.5, timeout=60)
    world.run()
    assert [sent.at for sent in world.sent] == [1000.0, 1010.0, 1020.0]
    assert [error.retry_after for error in world.refused] == [20.0] * 10
    assert str(world.refused[0]).splitlines() == [
        "rate limit: the next slot for `openai:gpt-6-sol` is in 20.0 s, but the deadline is in 5.0 s",
        "  = expected: fewer calls, a higher limit, or a longer deadline",
        "  = fix: llmcore config explain limits",
    ]


def test_a_call_that_waits_for_concurrency_fails_at_its_deadline() -> None:
    world = World({"": LimitRule(concurrency=1)})
    world.call(lasts=10)
    world.call(timeout=3)
    world.call(timeout=30)
    world.run()
    assert [(sent.caller, sent.at) for sent in world.sent] == [(0, 1000.0), (2, 1010.0)]
    (error,) = world.refused
    assert error.retry_after is None
    assert "is not free yet, but the deadline is in 0.0 s" in error.message


def test_places_are_given_in_the_order_in_which_callers_came() -> None:
    world = World({"": LimitRule(concurrency=3), "openai:b": LimitRule(concurrency=1)})
    for _ in range(30):
        world.call(lasts=1.0, model="a")
    world.call(lasts=100.0, model="b")
    for _ in range(30):
        world.call(lasts=1.0, model="a")
    world.call(lasts=1.0, model="b")
    world.run()
    callers = [sent.caller for sent in world.sent]
    assert sorted(callers[:-1]) == list(range(61))
    assert max(abs(caller - position) for position, caller in enumerate(callers[:-1])) <= 1
    assert callers[-1] == 61
    assert world.most_in_flight == 3


def test_a_cancelled_call_leaves_the_queue() -> None:
    world = World({"": LimitRule(requests_per_minute=60)})
    numbers = [world.call() for _ in range(100)]
    for number in numbers[1:50]:
        world.cancel(number, after=0.5)
    for _ in range(50):
        world.call(after=1.0)
    world.run()
    assert [sent.at for sent in world.sent] == pytest.approx([1000.0 + number for number in range(101)])


def test_limits_of_the_server_slow_only_their_model_down() -> None:
    world = World({"": LimitRule(requests_per_minute=6000)})
    said = RateLimits(requests_limit=60, requests_remaining=2, requests_reset_s=58.0)
    world.call()
    world.do(lambda: world.limits.learn(*MODEL, said), after=0.0)
    for _ in range(5):
        world.call(after=1.0)
        world.call(after=1.0, model="other")
    world.run()
    own = [sent.at for sent in world.sent if sent.model == MODEL[1]]
    # Two and what came back in a second; then one a second, as the server's reset says.
    assert own == pytest.approx([1000.0, 1001.0, 1001.0, 1001.0, 1002.0, 1003.0])
    assert {sent.at for sent in world.sent if sent.model == "other"} == {1001.0}


def test_high_limits_of_the_server_slow_no_call_down() -> None:
    world = World({"": LimitRule(requests_per_minute=600, tokens_per_minute=600_000)})
    world.call()
    said = RateLimits(
        requests_limit=10_000, requests_remaining=9999, requests_reset_s=8.64,
        tokens_limit=2_000_000, tokens_remaining=1_999_000, tokens_reset_s=0.03,
    )  # fmt: skip
    for _ in range(50):
        world.do(lambda: world.limits.learn(*MODEL, said), after=0.1)
        world.call(after=1.0, tokens=10)
    world.run()
    assert world.sent[-1].at == pytest.approx(1005.0)


@pytest.mark.parametrize(
    "said",
    [
        RateLimits(),
        RateLimits(requests_remaining=0),
        RateLimits(requests_limit=0, requests_remaining=0, requests_reset_s=0.0),
        RateLimits(requests_limit=5, requests_remaining=50, requests_reset_s=1e30),
        RateLimits(tokens_limit=10, tokens_remaining=0, tokens_reset_s=1e30),
        RateLimits(tokens_remaining=0, tokens_reset_s=1.0),
    ],
)
def test_no_word_of_a_server_stops_a_call_for_longer_than_a_day(said: RateLimits) -> None:
    world = World({"": LimitRule(requests_per_minute=6000)})
    world.call()
    world.do(lambda: world.limits.learn(*MODEL, said), after=0.0)
    world.call(after=1.0, tokens=1000)
    assert world.run().sent[-1].at <= 1000.0 + 86_401


def test_the_wall_clock_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits({"": LimitRule(requests_per_minute=1)})
    day = 86_400.0
    with pytest.raises(StopIteration):
        next(limits.acquire("openai", "m", 0, lambda: 0.0))
    for wall in (time.time() + day, time.time() - day):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        with pytest.raises(RateLimited, match=r"the next slot for `openai:m` is in (60\.0|59\.\d) s"):
            next(limits.acquire("openai", "m", 0, lambda: 5.0))
