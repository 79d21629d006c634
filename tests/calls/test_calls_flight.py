"""Single-flight: concurrent callers share one call, also if some of them leave, are cancelled or fail."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmcore.calls.drivers import arun, run
from llmcore.calls.single_flight import FlightResult, Flights
from llmcore.calls.steps import Step
from llmcore.errors import LLMCoreError, MalformedReply, NotAudio, Timeout, Unavailable
from tests.kits.flights import Upstream, count_waiters
from tests.kits.waiting import await_until, wait_until


def test_two_hundred_threads_are_one_call() -> None:
    flights, upstream = Flights(), Upstream()
    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(run, flights.join("k", upstream.work)) for _ in range(200)]
        wait_until(lambda: count_waiters(flights) == 200)
        upstream.open.set()
        landed = [each.result(60) for each in asked]
    assert upstream.asked == 1
    assert {each.value for each in landed} == {"answer 1"}
    assert sum(each.led for each in landed) == 1
    assert flights._flights == {}


def test_two_hundred_tasks_are_one_call() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> list[FlightResult]:
        tasks = [asyncio.create_task(arun(flights.join("k", upstream.work))) for _ in range(200)]
        await await_until(lambda: count_waiters(flights) == 200)
        upstream.open.set()
        return await asyncio.gather(*tasks)

    landed = asyncio.run(main())
    assert upstream.asked == 1
    assert {each.value for each in landed} == {"answer 1"}


def test_threads_and_tasks_share_one_call() -> None:
    flights, upstream = Flights(), Upstream()

    async def main(pool: ThreadPoolExecutor) -> list[FlightResult]:
        loop = asyncio.get_running_loop()
        tasks = [arun(flights.join("k", upstream.work)) for _ in range(20)]
        threads = [loop.run_in_executor(pool, run, flights.join("k", upstream.work)) for _ in range(20)]
        together = asyncio.gather(*tasks, *threads)
        await await_until(lambda: count_waiters(flights) == 40)
        upstream.open.set()
        return list(await together)

    with ThreadPoolExecutor(20) as pool:
        landed = asyncio.run(main(pool))
    assert upstream.asked == 1
    assert {each.value for each in landed} == {"answer 1"}


def test_different_keys_are_different_calls() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.open.set()
    assert [run(flights.join(key, upstream.work)).value for key in "ab"] == [
        "answer 1",
        "answer 2",
    ]


@pytest.mark.parametrize("followers", [1, 20])
def test_a_cancelled_leader_takes_nothing_from_its_followers(followers: int) -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> list[FlightResult]:
        leader = asyncio.create_task(arun(flights.join("k", upstream.work)))
        await await_until(upstream.reached.is_set)
        tasks = [asyncio.create_task(arun(flights.join("k", upstream.work))) for _ in range(followers)]
        await await_until(lambda: count_waiters(flights) == followers + 1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        upstream.open.set()
        return await asyncio.gather(*tasks)

    landed = asyncio.run(main())
    assert [each.value for each in landed] == ["answer 1"] * followers
    assert upstream.asked == 1


def test_leaders_cancelled_one_after_the_other_leave_the_last_one_its_answer() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> FlightResult:
        tasks = [asyncio.create_task(arun(flights.join("k", upstream.work))) for _ in range(5)]
        await await_until(lambda: count_waiters(flights) == 5)
        await await_until(upstream.reached.is_set)
        for task in tasks[:-1]:
            task.cancel()
            await await_until(task.done)
        upstream.open.set()
        return await tasks[-1]

    assert asyncio.run(main()).value == "answer 1"
    assert upstream.asked == 1


def test_a_cancelled_leader_in_a_loop_leaves_a_thread_its_answer() -> None:
    flights, upstream = Flights(), Upstream()

    async def main(pool: ThreadPoolExecutor) -> FlightResult:
        leader = asyncio.create_task(arun(flights.join("k", upstream.work)))
        await await_until(upstream.reached.is_set)
        thread = asyncio.get_running_loop().run_in_executor(pool, run, flights.join("k", upstream.work))
        await await_until(lambda: count_waiters(flights) == 2)
        leader.cancel()
        await await_until(leader.done)
        upstream.open.set()
        return await thread

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(main(pool)).value == "answer 1"
    assert upstream.asked == 1


def test_a_call_that_everybody_left_is_ended_and_cleans_up() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> None:
        tasks = [asyncio.create_task(arun(flights.join("k", upstream.work))) for _ in range(3)]
        await await_until(lambda: count_waiters(flights) == 3)
        await await_until(upstream.reached.is_set)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(main())
    assert upstream.closed == 1
    assert flights._flights == {}


def test_a_failed_leader_does_not_fail_its_followers() -> None:
    flights, upstream = Flights(), Upstream(Unavailable("down"))
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(run, flights.join("k", upstream.work)) for _ in range(10)]
        wait_until(lambda: count_waiters(flights) == 10)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType"] * 9 + ["Unavailable"]
    assert upstream.asked == 2


def test_a_second_failure_is_shared_by_all_callers() -> None:
    flights, upstream = Flights(), Upstream(Unavailable("down"), Unavailable("still down", status=503))
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(run, flights.join("k", upstream.work)) for _ in range(10)]
        wait_until(lambda: count_waiters(flights) == 10)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert upstream.asked == 2
    assert all(isinstance(error, Unavailable) for error in errors)
    assert len({id(error) for error in errors}) == 10
    assert sum(str(error) == "still down" and getattr(error, "status", None) == 503 for error in errors) == 9


@pytest.mark.parametrize("answered", [MalformedReply("a page"), NotAudio("a page")], ids=["chat", "voice"])
def test_an_answer_that_may_be_billed_is_not_asked_for_again_by_followers(answered: LLMCoreError) -> None:
    flights, upstream = Flights(), Upstream(answered)
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(run, flights.join("k", upstream.work)) for _ in range(10)]
        wait_until(lambda: count_waiters(flights) == 10)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert upstream.asked == 1
    assert {type(error) for error in errors} == {type(answered)}


def test_tasks_do_not_ask_again_for_an_answer_that_may_be_billed() -> None:
    flights, upstream = Flights(), Upstream(MalformedReply("a page"))

    async def main() -> list[Any]:
        asked = [asyncio.ensure_future(arun(flights.join("k", upstream.work))) for _ in range(10)]
        await await_until(lambda: count_waiters(flights) == 10)
        upstream.open.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    assert {type(error) for error in asyncio.run(main())} == {MalformedReply}
    assert upstream.asked == 1


def test_a_follower_waits_no_longer_than_it_may() -> None:
    flights, upstream = Flights(), Upstream()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(run, flights.join("k", upstream.work))
        wait_until(upstream.reached.is_set)
        with pytest.raises(Timeout):
            run(flights.join("k", upstream.work, left=lambda: 0.01))
        with pytest.raises(Timeout):
            asyncio.run(arun(flights.join("k", upstream.work, left=lambda: 0.01)))
        upstream.open.set()
        assert leader.result(60).value == "answer 1"


def test_a_blocking_call_inside_the_loop_that_leads_does_not_wait_for_itself() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> tuple[FlightResult, FlightResult]:
        leader = asyncio.create_task(arun(flights.join("k", upstream.work)))
        await await_until(upstream.reached.is_set)
        upstream.open.set()
        inside = run(flights.join("k", upstream.work))
        return inside, await leader

    inside, leader = asyncio.run(main())
    assert inside.led
    assert leader.led
    assert upstream.asked == 2


def test_work_without_waiters_is_cancelled_and_cleans_up() -> None:
    flights, upstream = Flights(), Upstream()
    said: list[str] = []

    async def tidy() -> str:
        await asyncio.sleep(0)
        return "tidy"

    def work() -> Generator[Any, Any, Any]:
        late = False
        try:
            return (yield from upstream.work())
        except TimeoutError:
            late = True
        said.append((yield Step(lambda: "tidy", tidy)))  # there is time for it although there is none left
        assert late
        raise Timeout("what had come was this", partial="Rain", provider="upstream")

    with pytest.raises(Timeout, match="what had come") as caught:
        asyncio.run(arun(flights.join("k", work, left=lambda: 0.01)))
    assert caught.value.partial == "Rain"
    assert (said, upstream.closed) == (["tidy"], 1)
    assert flights._flights == {}
