"""Single flight: one call for all who ask at once, whoever of them leaves, is cancelled or fails."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmcore.calls.bridges import END, Source
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.flight import Flights, Landed
from llmcore.calls.steps import Step
from llmcore.errors import Timeout, Unavailable


class Upstream:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self, *outcomes: Any) -> None:
        self.asked = 0
        self.open = threading.Event()
        self.reached = threading.Event()
        self.outcomes = list(outcomes)
        self.closed = 0

    def _outcome(self) -> Any:
        outcome = self.outcomes.pop(0) if self.outcomes else f"answer {self.asked}"
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def blocking(self) -> Any:
        self.asked += 1
        self.reached.set()
        assert self.open.wait(20)
        return self._outcome()

    async def awaiting(self) -> Any:
        self.asked += 1
        self.reached.set()
        await auntil(self.open.is_set)
        return self._outcome()

    def work(self) -> Generator[Any, Any, Any]:
        try:
            return (yield Step(self.blocking, self.awaiting))
        finally:
            self.closed += 1


def aboard(flights: Flights) -> int:
    return sum(len(flight.aboard) for flight in flights._flights.values())


def until(condition: Callable[[], bool]) -> None:
    for _ in itertools.count():
        if condition():
            return
        threading.Event().wait(0.001)


async def auntil(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for happens in other threads too
        await asyncio.sleep(0.001)


def test_two_hundred_threads_are_one_call() -> None:
    flights, upstream = Flights(), Upstream()
    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(run, flights.together("k", upstream.work)) for _ in range(200)]
        until(lambda: aboard(flights) == 200)
        upstream.open.set()
        landed = [each.result(20) for each in asked]
    assert upstream.asked == 1
    assert {each.value for each in landed} == {"answer 1"}
    assert sum(each.led for each in landed) == 1
    assert flights._flights == {}


def test_two_hundred_tasks_are_one_call() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> list[Landed]:
        tasks = [asyncio.create_task(arun(flights.together("k", upstream.work))) for _ in range(200)]
        await auntil(lambda: aboard(flights) == 200)
        upstream.open.set()
        return await asyncio.gather(*tasks)

    landed = asyncio.run(main())
    assert upstream.asked == 1
    assert {each.value for each in landed} == {"answer 1"}


def test_threads_and_tasks_share_one_call() -> None:
    flights, upstream = Flights(), Upstream()

    async def main(pool: ThreadPoolExecutor) -> list[Landed]:
        loop = asyncio.get_running_loop()
        tasks = [arun(flights.together("k", upstream.work)) for _ in range(20)]
        threads = [loop.run_in_executor(pool, run, flights.together("k", upstream.work)) for _ in range(20)]
        together = asyncio.gather(*tasks, *threads)
        await auntil(lambda: aboard(flights) == 40)
        upstream.open.set()
        return list(await together)

    with ThreadPoolExecutor(20) as pool:
        landed = asyncio.run(main(pool))
    assert upstream.asked == 1
    assert {each.value for each in landed} == {"answer 1"}


def test_different_keys_are_different_calls() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.open.set()
    assert [run(flights.together(key, upstream.work)).value for key in "ab"] == [
        "answer 1",
        "answer 2",
    ]


@pytest.mark.parametrize("followers", [1, 20])
def test_a_cancelled_leader_takes_nothing_from_its_followers(followers: int) -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> list[Landed]:
        leader = asyncio.create_task(arun(flights.together("k", upstream.work)))
        await auntil(upstream.reached.is_set)
        tasks = [asyncio.create_task(arun(flights.together("k", upstream.work))) for _ in range(followers)]
        await auntil(lambda: aboard(flights) == followers + 1)
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

    async def main() -> Landed:
        tasks = [asyncio.create_task(arun(flights.together("k", upstream.work))) for _ in range(5)]
        await auntil(lambda: aboard(flights) == 5)
        await auntil(upstream.reached.is_set)
        for task in tasks[:-1]:
            task.cancel()
            await auntil(task.done)
        upstream.open.set()
        return await tasks[-1]

    assert asyncio.run(main()).value == "answer 1"
    assert upstream.asked == 1


def test_a_cancelled_leader_in_a_loop_leaves_a_thread_its_answer() -> None:
    flights, upstream = Flights(), Upstream()

    async def main(pool: ThreadPoolExecutor) -> Landed:
        leader = asyncio.create_task(arun(flights.together("k", upstream.work)))
        await auntil(upstream.reached.is_set)
        thread = asyncio.get_running_loop().run_in_executor(pool, run, flights.together("k", upstream.work))
        await auntil(lambda: aboard(flights) == 2)
        leader.cancel()
        await auntil(leader.done)
        upstream.open.set()
        return await thread

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(main(pool)).value == "answer 1"
    assert upstream.asked == 1


def test_a_call_that_everybody_left_is_ended_and_cleans_up() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> None:
        tasks = [asyncio.create_task(arun(flights.together("k", upstream.work))) for _ in range(3)]
        await auntil(lambda: aboard(flights) == 3)
        await auntil(upstream.reached.is_set)
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
        asked = [pool.submit(run, flights.together("k", upstream.work)) for _ in range(10)]
        until(lambda: aboard(flights) == 10)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType"] * 9 + ["Unavailable"]
    assert upstream.asked == 2


def test_what_fails_twice_is_shared_and_not_tried_by_everybody() -> None:
    flights, upstream = Flights(), Upstream(Unavailable("down"), Unavailable("still down", status=503))
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(run, flights.together("k", upstream.work)) for _ in range(10)]
        until(lambda: aboard(flights) == 10)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert upstream.asked == 2
    assert all(isinstance(error, Unavailable) for error in errors)
    assert len({id(error) for error in errors}) == 10
    assert sum(str(error) == "still down" and getattr(error, "status", None) == 503 for error in errors) == 9


def test_a_follower_waits_no_longer_than_it_may() -> None:
    flights, upstream = Flights(), Upstream()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(run, flights.together("k", upstream.work))
        until(upstream.reached.is_set)
        with pytest.raises(Timeout):
            run(flights.together("k", upstream.work, left=lambda: 0.01))
        with pytest.raises(Timeout):
            asyncio.run(arun(flights.together("k", upstream.work, left=lambda: 0.01)))
        upstream.open.set()
        assert leader.result(20).value == "answer 1"


def test_a_blocking_call_inside_the_loop_that_leads_does_not_wait_for_itself() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> tuple[Landed, Landed]:
        leader = asyncio.create_task(arun(flights.together("k", upstream.work)))
        await auntil(upstream.reached.is_set)
        upstream.open.set()
        inside = run(flights.together("k", upstream.work))
        return inside, await leader

    inside, leader = asyncio.run(main())
    assert inside.led
    assert leader.led
    assert upstream.asked == 2


# -- streams


class Stream(Upstream):
    """Gives five pieces, each when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)

    def pieces(self) -> Generator[str, None, None]:
        self.asked += 1
        for number in range(5):
            self.reached.set()
            assert self.gate.acquire(timeout=20)
            yield str(number)

    def work(self) -> Generator[Any, Any, Any]:
        source = Source(self, "pieces")
        try:
            while (piece := (yield source.next)) is not END:
                yield piece
        finally:
            self.closed += 1
            yield source.close
        return "whole"


class AsyncStream(Stream):
    pieces = None  # type: ignore[assignment] # this one has the other colour only

    async def apieces(self) -> AsyncIterator[str]:
        self.asked += 1
        for number in range(5):
            self.reached.set()
            await auntil(lambda: self.gate.acquire(blocking=False))
            yield str(number)


def test_followers_of_a_stream_get_every_piece_from_the_first_on() -> None:
    flights, stream = Flights(), Stream()
    with ThreadPoolExecutor(20) as pool:
        leader = iterate(flights.together("k", stream.work, emit=bool))
        stream.gate.release(2)
        assert [next(leader), next(leader)] == ["0", "1"]
        others = [
            pool.submit(lambda: list(iterate(flights.together("k", stream.work, emit=bool))))
            for _ in range(19)
        ]
        until(lambda: aboard(flights) == 20)
        stream.gate.release(3)
        assert list(leader) == ["2", "3", "4"]
        assert [other.result(20) for other in others] == [["0", "1", "2", "3", "4"]] * 19
    assert (stream.asked, stream.closed) == (1, 1)


def test_a_leader_who_stops_reading_leaves_the_stream_to_its_followers() -> None:
    flights, stream = Flights(), Stream()
    leader = iterate(flights.together("k", stream.work, emit=bool))
    stream.gate.release(2)
    assert next(leader) == "0"
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(iterate(flights.together("k", stream.work, emit=bool))))
        until(lambda: aboard(flights) == 2)
        leader.close()
        stream.gate.release(3)
        assert other.result(20) == ["0", "1", "2", "3", "4"]
    assert (stream.asked, stream.closed) == (1, 1)


def test_a_cancelled_leader_of_a_stream_leaves_it_whole_to_twenty_followers() -> None:
    flights, stream = Flights(), AsyncStream()

    async def read() -> list[str]:
        return [piece async for piece in aiterate(flights.together("k", stream.work, emit=bool))]

    async def main() -> list[list[str]]:
        leader = asyncio.create_task(read())
        stream.gate.release(2)
        await auntil(stream.reached.is_set)
        tasks = [asyncio.create_task(read()) for _ in range(20)]
        await auntil(lambda: aboard(flights) == 21)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        stream.gate.release(3)
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [["0", "1", "2", "3", "4"]] * 20
    assert (stream.asked, stream.closed) == (1, 1)


def test_a_plain_call_and_a_stream_share_one_flight() -> None:
    flights, stream = Flights(), Stream()
    with ThreadPoolExecutor(2) as pool:
        streaming = pool.submit(lambda: list(iterate(flights.together("k", stream.work, emit=bool))))
        until(stream.reached.is_set)
        plain = pool.submit(run, flights.together("k", stream.work))
        until(lambda: aboard(flights) == 2)
        stream.gate.release(5)
        assert streaming.result(20) == ["0", "1", "2", "3", "4"]
        assert plain.result(20).value == "whole"
    assert stream.asked == 1


def test_a_stream_that_everybody_left_is_closed() -> None:
    flights, stream = Flights(), Stream()
    leader = iterate(flights.together("k", stream.work, emit=bool))
    stream.gate.release(1)
    assert next(leader) == "0"
    leader.close()
    assert (stream.closed, flights._flights) == (1, {})


# -- from one colour and place to another


def test_a_stream_begun_in_a_loop_is_taken_over_by_a_thread() -> None:
    flights, stream = Flights(), AsyncStream()

    async def main(pool: ThreadPoolExecutor) -> list[str]:
        leader = aiterate(flights.together("k", stream.work, emit=bool))
        stream.gate.release(2)
        assert await anext(leader) == "0"
        thread = asyncio.get_running_loop().run_in_executor(
            pool, lambda: list(iterate(flights.together("k", stream.work, emit=bool)))
        )
        await auntil(lambda: aboard(flights) == 2)
        await leader.aclose()
        stream.gate.release(3)
        return await thread

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(main(pool)) == ["0", "1", "2", "3", "4"]
    assert (stream.asked, stream.closed) == (1, 1)


def test_a_stream_begun_by_a_thread_is_taken_over_by_a_task() -> None:
    flights, stream = Flights(), Stream()
    leader = iterate(flights.together("k", stream.work, emit=bool))
    stream.gate.release(2)
    assert next(leader) == "0"

    async def main() -> list[str]:
        task = asyncio.create_task(collected(flights, stream))
        await auntil(lambda: aboard(flights) == 2)
        await asyncio.to_thread(leader.close)
        stream.gate.release(3)
        return await task

    assert asyncio.run(main()) == ["0", "1", "2", "3", "4"]
    assert (stream.asked, stream.closed) == (1, 1)


async def collected(flights: Flights, stream: Stream) -> list[str]:
    return [piece async for piece in aiterate(flights.together("k", stream.work, emit=bool))]


def test_work_whose_loop_stands_still_is_begun_anew_by_another() -> None:
    flights, upstream = Flights(), Upstream()
    loop = asyncio.new_event_loop()
    leader = loop.create_task(arun(flights.together("k", upstream.work)))
    loop.run_until_complete(auntil(upstream.reached.is_set))
    upstream.open.set()
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(run, flights.together("k", upstream.work, left=lambda: 0.2))
        with pytest.raises(Timeout):  # it waits for one who drives, no longer than it may
            follower.result(10)
    assert loop.run_until_complete(leader).value == "answer 1"
    loop.close()


def test_a_driver_waits_no_longer_than_it_may_and_leaves_the_rest_their_answer() -> None:
    flights, upstream = Flights(), Upstream()

    async def main() -> Landed:
        hasty = asyncio.create_task(arun(flights.together("k", upstream.work, left=lambda: 0.01)))
        await auntil(upstream.reached.is_set)
        patient = asyncio.create_task(arun(flights.together("k", upstream.work)))
        await auntil(lambda: aboard(flights) == 2)
        with pytest.raises(Timeout):
            await hasty
        upstream.open.set()
        return await patient

    assert asyncio.run(main()).value == "answer 1"
    assert upstream.asked == 1


def test_a_stream_that_broke_off_is_tried_again_by_those_to_whom_it_gave_nothing() -> None:
    flights = Flights()
    begun: list[int] = []
    gate = threading.Event()

    def work() -> Generator[Any, Any, str]:
        begun.append(1)
        yield Step(lambda: gate.wait(20), None)
        yield "piece"
        if len(begun) == 1:
            raise Unavailable("broke off")
        return "whole"

    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(lambda: list(iterate(flights.together("k", work, emit=bool))))
        until(lambda: bool(begun))
        plain = pool.submit(run, flights.together("k", work))
        until(lambda: aboard(flights) == 2)
        gate.set()
        outcomes = [reader.exception(20), plain.exception(20)]
    assert sum(isinstance(outcome, Unavailable) for outcome in outcomes) <= 1
    assert plain.exception() is not None or plain.result().value == "whole"


def test_a_step_that_fails_while_the_last_one_leaves_is_the_works_to_handle() -> None:
    flights = Flights()
    handled: list[str] = []

    def fails() -> None:
        raise OSError("the cache does not answer")

    def work() -> Generator[Any, Any, None]:
        try:
            yield "piece"
            yield "another"
        finally:
            try:
                yield Step(fails, None)
            except OSError:
                handled.append("handled")

    reader = iterate(flights.together("k", work, emit=bool))
    assert next(reader) == "piece"
    reader.close()
    assert handled == ["handled"]


def test_an_error_with_arguments_of_its_own_is_shared_whole() -> None:
    class OddError(Exception):
        def __init__(self, one: int, other: int) -> None:
            super().__init__(one, other)
            self.other = other

    flights, upstream = Flights(), Upstream(OddError(1, 2), OddError(3, 4))
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(run, flights.together("k", upstream.work)) for _ in range(5)]
        until(lambda: aboard(flights) == 5)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert all(isinstance(error, OddError) and error.args in {(1, 2), (3, 4)} for error in errors)


def test_a_forked_child_does_not_wait_for_its_parents_calls() -> None:
    flights, upstream = Flights(), Upstream()
    with ThreadPoolExecutor(1) as pool:
        parent = pool.submit(run, flights.together("k", upstream.work))
        until(upstream.reached.is_set)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                upstream.open.set()
                os.write(write, run(flights.together("k", upstream.work)).value.encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as result:
            assert result.read() == "answer 2"
        upstream.open.set()
        assert parent.result(20).value == "answer 1"
