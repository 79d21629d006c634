"""cached() in company: one run for all who ask at once, in threads, tasks and processes."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache import CacheManager
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.waiting import await_until, wait_until


@pytest.fixture
def cache() -> Iterator[CacheManager]:
    with CacheManager(backend="memory") as manager:
        yield manager


def count_waiters(cache: CacheManager) -> int:
    return sum(len(flight.callers) for flight in cache._values.flights._flights.values())


def test_two_hundred_threads_are_one_run(cache: CacheManager) -> None:
    ran, gate = [], threading.Event()

    @cache.cached()
    def slow(x: int) -> list[int]:
        ran.append(x)
        assert gate.wait(60)
        return [x]

    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(slow, 1) for _ in range(200)]
        wait_until(lambda: count_waiters(cache) == 200)
        gate.set()
        results = [each.result() for each in asked]
    assert results == [[1]] * 200
    assert ran == [1]
    assert len({id(each) for each in results}) == 200  # a caller cannot change the copy of another


def test_two_hundred_tasks_are_one_run(cache: CacheManager) -> None:
    ran: list[int] = []

    @cache.cached()
    async def slow(x: int) -> int:
        ran.append(x)
        await await_until(lambda: count_waiters(cache) == 200)
        return x

    async def main() -> list[int]:
        return await asyncio.gather(*(slow(1) for _ in range(200)))

    assert asyncio.run(main()) == [1] * 200
    assert ran == [1]


PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from llmcore.cache import CacheManager

here = Path(__file__).parent
cache = CacheManager(**{options!r})

def ran(what):
    with (here / "ran").open("a") as file:
        file.write(what + " ")
    while len(list(here.glob("ready.*"))) < 8:
        time.sleep(0.005)

@cache.cached(ttl=60)
def slow(x: int) -> int:
    ran("function")
    return 2 * x

@cache.cached(ttl=60)
async def aslow(x: int) -> int:
    await asyncio.to_thread(ran, "coroutine")
    return 3 * x

@cache.cached(ttl=60)
def pieces(x: int):
    ran("generator")
    yield from range(x)

cache.get("warm")
(here / f"ready.{{sys.argv[1]}}").touch()
assert slow(21) == 42
assert asyncio.run(aslow(21)) == 63
assert list(pieces(3)) == [0, 1, 2]
assert cache.get_stats()["errors"] == 0
cache.close()
"""


def check_that_eight_processes_run_once(folder: Path, **options: Any) -> None:
    program = folder / "program.py"
    program.write_text(PROGRAM.format(options=options))
    started = [subprocess.Popen([sys.executable, str(program), str(each)]) for each in range(8)]
    assert [each.wait(60) for each in started] == [0] * 8
    assert (folder / "ran").read_text().split() == ["function", "coroutine", "generator"]


def test_eight_processes_on_one_file_are_one_run(tmp_path: Path) -> None:
    check_that_eight_processes_run_once(tmp_path, backend="file", cache_dir=str(tmp_path / "cache"))


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
def test_eight_processes_on_one_redis_are_one_run(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        check_that_eight_processes_run_once(
            tmp_path, backend="redis", url=server.url, timeout=20.0, connect_timeout=20.0
        )


def test_a_failing_leader_does_not_fail_its_followers(cache: CacheManager) -> None:
    ran = itertools.count(1)

    class Odd(Exception):  # one that copy.copy() cannot copy
        def __init__(self, one: int, two: int) -> None:
            super().__init__(one + two)

    @cache.cached()
    def slow() -> int:
        turn = next(ran)
        wait_until(lambda: count_waiters(cache) == (5 if turn == 1 else 4))
        if turn == 1:
            raise Odd(1, 2)
        return turn

    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(slow) for _ in range(5)]
        errors = [each.exception() for each in asked]
    assert [type(each) for each in errors if each] == [Odd]
    assert slow() == 2


def test_a_second_failure_is_raised_to_all_callers(cache: CacheManager) -> None:
    ran = itertools.count(1)

    @cache.cached()
    def slow() -> int:
        turn = next(ran)
        wait_until(lambda: count_waiters(cache) == (5 if turn == 1 else 4))
        raise ValueError(turn)

    with ThreadPoolExecutor(5) as pool:
        errors = [each.exception() for each in [pool.submit(slow) for _ in range(5)]]
    assert sorted(str(each) for each in errors) == ["1", "2", "2", "2", "2"]


def test_a_cancelled_leader_does_not_cancel_its_followers(cache: CacheManager) -> None:
    ran: list[int] = []

    @cache.cached()
    async def slow() -> int:
        ran.append(1)
        await await_until(lambda: count_waiters(cache) == 20)
        return 7

    async def main() -> list[int]:
        leader = asyncio.create_task(slow())
        await await_until(lambda: bool(ran))
        followers = [asyncio.create_task(slow()) for _ in range(20)]
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        return await asyncio.gather(*followers)

    assert asyncio.run(main()) == [7] * 20
    assert len(ran) <= 2


def test_a_function_may_call_itself(cache: CacheManager) -> None:
    ran: list[int] = []

    @cache.cached()
    def fibonacci(n: int) -> int:
        ran.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @cache.cached()
    async def afibonacci(n: int) -> int:
        return n if n < 2 else sum(await asyncio.gather(afibonacci(n - 1), afibonacci(n - 2)))

    assert fibonacci(20) == asyncio.run(afibonacci(20)) == 6765
    assert len(ran) == 21


def test_a_function_that_calls_itself_with_the_same_arguments_does_not_wait_for_itself(
    cache: CacheManager,
) -> None:
    depth = itertools.count()

    @cache.cached()
    def again(x: int) -> int:
        return x if next(depth) >= 2 else again(x)

    @cache.cached()
    async def aagain(x: int) -> int:
        return x if next(depth) >= 5 else await asyncio.create_task(aagain(x))

    async def main() -> int:
        async with asyncio.timeout(60):
            return await aagain(5)

    assert again(5) == asyncio.run(main()) == 5


class TestGenerators:
    def test_yielded_items_are_replayed(self, cache: CacheManager) -> None:
        ran: list[int] = []

        @cache.cached()
        def count(n: int) -> Iterator[Any]:
            ran.append(n)
            for each in range(n):
                yield [each]

        first = list(count(3))
        first[0].append("mine")
        assert list(count(3)) == [[0], [1], [2]]
        assert list(count(0)) == list(count(0)) == []
        assert ran == [3, 0]

    def test_an_unfinished_iteration_is_not_cached(self, cache: CacheManager) -> None:
        ran, closed = [], []

        @cache.cached()
        def count(n: int) -> Iterator[int]:
            ran.append(n)
            try:
                yield from range(n)
            finally:
                closed.append(n)

        pieces = count(3)
        assert next(iter(pieces)) == 0
        pieces.close()  # type: ignore[attr-defined]  # declared as an Iterator, as people do
        assert closed == [3]
        assert list(count(3)) == [0, 1, 2]
        assert ran == [3, 3]

    def test_an_exception_is_replayed_at_its_place_and_not_cached(self, cache: CacheManager) -> None:
        @cache.cached()
        def fails() -> Iterator[int]:
            yield 1
            raise ValueError("no")

        for _ in range(2):
            pieces = fails()
            assert next(iter(pieces)) == 1
            with pytest.raises(ValueError, match="no"):
                next(iter(pieces))

    def test_two_interleaved_iterations_share_one_run(self, cache: CacheManager) -> None:
        ran: list[int] = []

        @cache.cached()
        def count(n: int) -> Iterator[int]:
            ran.append(n)
            yield from range(n)

        assert list(zip(count(3), count(3), strict=True)) == [(0, 0), (1, 1), (2, 2)]
        assert ran == [3]

    def test_async_generators_are_one_run_and_replayed(self, cache: CacheManager) -> None:
        ran: list[int] = []

        @cache.cached()
        async def count(n: int) -> AsyncIterator[int]:
            ran.append(n)
            for each in range(n):
                await asyncio.sleep(0)
                yield each

        async def gather_items() -> list[int]:
            return [each async for each in count(3)]

        async def main() -> list[list[int]]:
            return [*await asyncio.gather(*(gather_items() for _ in range(20))), await gather_items()]

        assert asyncio.run(main()) == [[0, 1, 2]] * 21
        assert ran == [3]

    def test_a_refreshed_generator_runs_again(self, cache: CacheManager) -> None:
        ran = itertools.count(1)

        @cache.cached()
        def turns() -> Iterator[int]:
            yield next(ran)

        assert [list(turns()), list(turns.refresh()), list(turns()), list(turns.uncached())] == [
            [1],
            [2],
            [2],
            [3],
        ]
