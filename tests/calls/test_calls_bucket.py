"""The token bucket compared with its rule, computed from the list of all bookings and refunds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.calls.bucket import Bucket
from tests.kits.limits import check_windows

RATE = 10.0
BURST = 10.0


def compute_full_at(taken: list[tuple[float, float]]) -> float:
    """When all would have flowed back, had every taking been as large as it turned out to be."""
    latest, owed = float("-inf"), 0.0
    for at, units in reversed(taken):
        owed += units / RATE
        latest = max(latest, at + owed)
    return latest


steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0.01, 3)),
        st.tuples(st.just("take"), st.floats(0.5, 25)),
        st.tuples(st.just("take"), st.floats(0.5, 3)),
        st.tuples(st.just("give back"), st.tuples(st.integers(0, 1000), st.floats(0, 1))),
    ),
    max_size=60,
)


@pytest.mark.slow
@given(steps)
@settings(deadline=None, max_examples=600)
def test_a_refund_undoes_exactly_its_booking(
    steps: list[tuple[str, object]],
) -> None:
    bucket, now = Bucket(1 / RATE, BURST / RATE), 0.0
    taken: list[tuple[float, float]] = []
    tickets: list[int] = []
    largest, refunds = 0.0, 0
    for what, value in steps:
        if isinstance(value, tuple) and tickets:
            which, part = value[0] % len(tickets), value[1]
            at, units = taken[which]
            bucket.give_back(tickets[which], units * part)
            taken[which] = (at, units - units * part)
            refunds += 1
        elif what == "pass":
            assert isinstance(value, float)
            now += value
        elif what == "take":
            assert isinstance(value, float)
            now = max(now, bucket.find_ready_time(value))
            tickets.append(bucket.take(value, now))
            taken.append((now, value))
            largest = max(largest, value)
        right = max(compute_full_at(taken), now)
        assert right - 1e-6 <= max(bucket.full_at, now) <= right + refunds * BURST / RATE / 64 + 1e-6
    check_windows(taken, RATE, max(BURST, largest))


def test_a_refund_does_not_restore_tokens_that_have_overflowed() -> None:
    bucket = Bucket(1.0, 1.0)
    first = bucket.take(60, 0.0)
    bucket.take(60, 60.0)
    bucket.give_back(first, 60)
    assert bucket.full_at == 120.0


def test_a_bucket_remembers_few_of_many_takings() -> None:
    bucket, now = Bucket(0.001, 1.0), 0.0
    for number in range(50_000):
        now = max(now, bucket.find_ready_time(1 + number % 7))
        bucket.take(1 + number % 7, now)
    assert len(bucket._debts) < 100


def test_a_refund_is_bounded_by_all_takings_after_it() -> None:
    bucket = Bucket(1.0, 64.0)
    tickets = [bucket.take(units, at) for units, at in ((5, 0.0), (10, 2.0), (10, 5.0), (5, 20.0))]
    bucket.give_back(tickets[2], 3)
    assert bucket.full_at == 27.0
    bucket.give_back(tickets[0], 5)  # the last one would have found 2 missing
    assert bucket.full_at == 25.0


def test_a_refund_is_bounded_by_takings_that_found_about_the_same_missing() -> None:
    bucket = Bucket(1.0, 64.0)
    tickets = [bucket.take(units, at) for units, at in ((5, 0.0), (30, 0.0), (1, 29.5))]
    bucket.give_back(tickets[1], 30)
    assert bucket.full_at == 36.0 - 5.0
