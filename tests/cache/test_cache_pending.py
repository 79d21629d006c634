"""Invalidations that wait for the reconnect: bounded, and none is lost that is requested while it is repeated."""

from __future__ import annotations

from llmcore.cache.invalidation import EVERYTHING, MAX_PENDING, Invalidation, PendingInvalidations


def test_many_invalidations_become_one_of_everything() -> None:
    pending = PendingInvalidations()
    for number in range(MAX_PENDING):
        pending.add(Invalidation("key", str(number)))
    assert len(pending) == MAX_PENDING
    pending.add(Invalidation("key", "one more"))
    assert [each for each, _ in pending.snapshot()] == [EVERYTHING]


def test_an_invalidation_during_a_repetition_is_repeated_separately() -> None:
    pending = PendingInvalidations()
    pending.add(EVERYTHING)
    pending.add(Invalidation("key", "covered"))
    ((everything, number),) = pending.snapshot()
    later = Invalidation("key", "requested while everything is being forgotten")
    pending.add(later)
    pending.discard(everything, number)
    assert [each for each, _ in pending.snapshot()] == [later]


def test_an_invalidation_requested_again_during_its_repetition_stays_pending() -> None:
    pending = PendingInvalidations()
    key = Invalidation("key", "key")
    pending.add(key)
    ((_, number),) = pending.snapshot()
    pending.add(key)
    pending.discard(key, number)
    assert len(pending) == 1
