"""Early refresh of cached(): one caller renews the result in the background, while all callers get the old one."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmcore.cache import CacheManager
from tests.kits.waiting import wait_until


@pytest.fixture
def cache() -> Iterator[CacheManager]:
    with CacheManager(backend="memory") as manager:
        yield manager


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let a test move the wall clock; entries in memory expire by another."""
    moved = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + moved[0])
    return moved


def test_one_caller_refreshes_while_all_are_served_the_old_value(
    cache: CacheManager, clock: list[float]
) -> None:
    ran, gate, threads = itertools.count(1), threading.Event(), []

    @cache.cached(ttl=1000, refresh=0.8)
    def slow(x: int) -> int:
        turn = next(ran)
        threads.append(threading.current_thread().name)
        if turn > 1:
            assert gate.wait(60)
        return x + turn

    assert [slow(10) for _ in range(3)] == [11] * 3
    clock[0] = 900.0
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(slow, [10] * 20)) == [11] * 20
    gate.set()
    wait_until(lambda: slow(10) == 12)
    assert len(threads) == 2
    assert threads[1] == "llmcore-refresh"


def test_a_refresh_that_fails_leaves_the_old_value(
    cache: CacheManager, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    ran = itertools.count(1)

    @cache.cached(ttl=1000, refresh=0.5)
    def slow() -> int:
        turn = next(ran)
        if turn > 1:
            raise ValueError("secret")
        return turn

    assert slow() == 1
    clock[0] = 600.0
    assert slow() == 1
    wait_until(lambda: bool(caplog.records))
    assert slow() == 1
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_a_refresh_rejected_by_the_condition_is_not_repeated_at_every_call(
    cache: CacheManager, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    ran = itertools.count(1)

    @cache.cached(ttl=1000, refresh=0.5, condition=lambda turn: turn == 1)
    def slow() -> int:
        return next(ran)

    assert slow() == 1
    clock[0] = 600.0
    assert slow() == 1
    wait_until(lambda: "the new result was not stored" in caplog.text)
    assert [slow() for _ in range(5)] == [1] * 5
    assert next(ran) == 3


def test_a_refresh_that_is_cancelled_before_it_begins_leaves_the_turn_to_others(
    cache: CacheManager, clock: list[float]
) -> None:
    ran = itertools.count(1)

    @cache.cached(ttl=1000, refresh=0.5)
    async def slow() -> int:
        return next(ran)

    assert asyncio.run(slow()) == 1
    clock[0] = 600.0
    for turn in (1, 2):  # the loop ends with the refresh in it
        assert asyncio.run(slow()) == 1
        turns = cache._values.refresher._attempts
        assert [each.failures for each in turns.values()] == [0], f"{turn}"
        turns.clear()


def test_a_task_refreshes_for_tasks(cache: CacheManager, clock: list[float]) -> None:
    ran = itertools.count(1)

    @cache.cached(ttl=1000, refresh=0.5)
    async def slow() -> int:
        return next(ran)

    async def main() -> None:
        assert await slow() == 1
        clock[0] = 600.0
        assert [await slow(), await slow()] == [1, 1]
        async with asyncio.timeout(60):
            while await slow() == 1:  # noqa: ASYNC110 - what is waited for is what slow() returns
                await asyncio.sleep(0)
        assert [await slow(), next(ran)] == [2, 3]

    asyncio.run(main())


def test_another_process_that_refreshes_is_left_to_it(tmp_path: Path, clock: list[float]) -> None:
    caches = [CacheManager(backend="file", cache_dir=str(tmp_path)) for _ in range(2)]
    ran, gate = itertools.count(1), threading.Event()

    def slow() -> int:
        turn = next(ran)
        assert turn == 1 or gate.wait(60)
        return turn

    one, other = (cache.cached(ttl=1000, refresh=0.5, name="slow")(slow) for cache in caches)
    assert [one(), other()] == [1, 1]
    clock[0] = 600.0
    assert one() == 1
    wait_until(lambda: next(iter(caches[0]._values.leases._held), "").endswith(" refresh"))
    assert [other() for _ in range(5)] == [1] * 5
    gate.set()
    wait_until(lambda: one() == 2)
    assert other() == 2
    assert next(ran) == 3
    for cache in caches:
        cache.close()
