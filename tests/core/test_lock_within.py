"""Locks that are acquired within the time of a call."""

from __future__ import annotations

import threading

from llmcore import forks
from llmcore.threads import acquire_within


def test_without_time_left_a_lock_that_is_held_is_not_awaited() -> None:
    lock = forks.lock()
    assert acquire_within(lock, lambda: -1.0)
    ended = threading.Event()
    found: list[bool] = []

    def acquire() -> None:
        found.append(acquire_within(lock, lambda: 0.0))
        ended.set()

    threading.Thread(target=acquire, daemon=True).start()
    assert ended.wait(60)
    assert found == [False]
