"""The stacks of all threads are read while no garbage collection can start."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from llmcore.frames import get_frames


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """Collect at each allocation; list the functions in which that happens."""
    found: list[str] = []

    def note(phase: str, _: object) -> None:
        caller = sys._getframe(1)
        found.append(f"{caller.f_code.co_name} {phase}")

    thresholds = gc.get_threshold()
    gc.callbacks.append(note)
    gc.set_threshold(1)
    yield found
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(note)


def test_no_collection_starts_while_frames_are_read(collections: list[str]) -> None:
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        found = get_frames()
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert {threading.get_ident(), *(thread.ident for thread in threads)} <= set(found)
    assert "get_frames start" not in collections


@pytest.mark.parametrize("switch", [gc.enable, gc.disable])
def test_the_garbage_collector_stays_as_it_was(switch: Callable[[], None]) -> None:
    switch()
    try:
        get_frames()
        assert gc.isenabled() is (switch is gc.enable)
    finally:
        gc.enable()
