"""Single flight of streams, and of work that goes from one variant or place to another."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.single_flight import FlightResult, Flights
from llmcore.calls.steps import Step
from llmcore.errors import Timeout, Unavailable
from tests.kits.flights import AsyncStream, Stream, Upstream, count_waiters
from tests.kits.waiting import await_until, wait_until


def test_followers_of_a_stream_get_every_piece_from_the_first_on() -> None:
    flights, stream = Flights(), Stream()
    with ThreadPoolExecutor(20) as pool:
        leader = iterate(flights.join("k", stream.work, emit=bool))
        stream.gate.release(2)
        assert [next(leader), next(leader)] == ["0", "1"]
        others = [
            pool.submit(lambda: list(iterate(flights.join("k", stream.work, emit=bool)))) for _ in range(19)
        ]
        wait_until(lambda: count_waiters(flights) == 20)
        stream.gate.release(3)
        assert list(leader) == ["2", "3", "4"]
        assert [other.result(60) for other in others] == [["0", "1", "2", "3", "4"]] * 19
    assert (stream.asked, stream.closed) == (1, 1)


def test_followers_continue_a_stream_that_its_first_reader_left() -> None:
    flights, stream = Flights(), Stream()
    leader = iterate(flights.join("k", stream.work, emit=bool))
    stream.gate.release(2)
    assert next(leader) == "0"
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(iterate(flights.join("k", stream.work, emit=bool))))
        wait_until(lambda: count_waiters(flights) == 2)
        leader.close()
        stream.gate.release(3)
        assert other.result(60) == ["0", "1", "2", "3", "4"]
    assert (stream.asked, stream.closed) == (1, 1)


def test_a_cancelled_leader_of_a_stream_leaves_it_whole_to_twenty_followers() -> None:
    flights, stream = Flights(), AsyncStream()

    async def read() -> list[str]:
        return [piece async for piece in aiterate(flights.join("k", stream.work, emit=bool))]

    async def main() -> list[list[str]]:
        leader = asyncio.create_task(read())
        stream.gate.release(2)
        await await_until(stream.reached.is_set)
        tasks = [asyncio.create_task(read()) for _ in range(20)]
        await await_until(lambda: count_waiters(flights) == 21)
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
        streaming = pool.submit(lambda: list(iterate(flights.join("k", stream.work, emit=bool))))
        wait_until(stream.reached.is_set)
        plain = pool.submit(run, flights.join("k", stream.work))
        wait_until(lambda: count_waiters(flights) == 2)
        stream.gate.release(5)
        assert streaming.result(60) == ["0", "1", "2", "3", "4"]
        assert plain.result(60).value == "whole"
    assert stream.asked == 1


def test_a_stream_that_everybody_left_is_closed() -> None:
    flights, stream = Flights(), Stream()
    leader = iterate(flights.join("k", stream.work, emit=bool))
    stream.gate.release(1)
    assert next(leader) == "0"
    leader.close()
    assert (stream.closed, flights._flights) == (1, {})


# -- from one variant and place to another


def test_a_thread_takes_over_a_stream_of_an_event_loop() -> None:
    flights, stream = Flights(), AsyncStream()

    async def main(pool: ThreadPoolExecutor) -> list[str]:
        leader = aiterate(flights.join("k", stream.work, emit=bool))
        stream.gate.release(2)
        assert await anext(leader) == "0"
        thread = asyncio.get_running_loop().run_in_executor(
            pool, lambda: list(iterate(flights.join("k", stream.work, emit=bool)))
        )
        await await_until(lambda: count_waiters(flights) == 2)
        await leader.aclose()
        stream.gate.release(3)
        return await thread

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(main(pool)) == ["0", "1", "2", "3", "4"]
    assert (stream.asked, stream.closed) == (1, 1)


def test_a_task_takes_over_a_stream_of_a_thread() -> None:
    flights, stream = Flights(), Stream()
    leader = iterate(flights.join("k", stream.work, emit=bool))
    stream.gate.release(2)
    assert next(leader) == "0"

    async def main() -> list[str]:
        task = asyncio.create_task(collect(flights, stream))
        await await_until(lambda: count_waiters(flights) == 2)
        await asyncio.to_thread(leader.close)
        stream.gate.release(3)
        return await task

    assert asyncio.run(main()) == ["0", "1", "2", "3", "4"]
    assert (stream.asked, stream.closed) == (1, 1)


async def collect(flights: Flights, stream: Stream) -> list[str]:
    return [piece async for piece in aiterate(flights.join("k", stream.work, emit=bool))]


def test_work_of_a_stopped_loop_is_restarted_by_another_caller() -> None:
    flights, upstream = Flights(), Upstream()
    loop = asyncio.new_event_loop()
    leader = loop.create_task(arun(flights.join("k", upstream.work)))
    loop.run_until_complete(await_until(upstream.reached.is_set))
    upstream.open.set()
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(run, flights.join("k", upstream.work, left=lambda: 0.2))
        with pytest.raises(Timeout):  # it waits for one who drives, no longer than it may
            follower.result(60)
    assert loop.run_until_complete(leader).value == "answer 1"
    loop.close()


def test_a_driver_waits_no_longer_than_it_may_and_leaves_the_rest_their_answer() -> None:
    flights, begun = Flights(), []

    async def main() -> FlightResult:
        joined, go_on = asyncio.Event(), asyncio.Event()

        def work() -> Generator[Any, Any, str]:
            begun.append(1)
            yield Step(threading.Event().wait, joined.wait)
            yield "piece"  # the first caller then waits again, and its time has run out
            yield Step(threading.Event().wait, go_on.wait)
            return "answer"

        hasty = asyncio.create_task(
            arun(flights.join("k", work, left=lambda: 0.0 if joined.is_set() else None))
        )
        await await_until(lambda: bool(begun))
        patient = asyncio.create_task(arun(flights.join("k", work)))
        await await_until(lambda: count_waiters(flights) == 2)
        joined.set()
        with pytest.raises(Timeout):
            await hasty
        go_on.set()
        return await patient

    assert asyncio.run(main()).value == "answer"
    assert begun == [1]


def test_a_broken_stream_is_retried_by_readers_without_a_piece() -> None:
    flights = Flights()
    begun: list[int] = []
    gate = threading.Event()

    def work() -> Generator[Any, Any, str]:
        begun.append(1)
        yield Step(lambda: gate.wait(60), None)
        yield "piece"
        if len(begun) == 1:
            raise Unavailable("broke off")
        return "whole"

    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(lambda: list(iterate(flights.join("k", work, emit=bool))))
        wait_until(lambda: bool(begun))
        plain = pool.submit(run, flights.join("k", work))
        wait_until(lambda: count_waiters(flights) == 2)
        gate.set()
        assert isinstance(reader.exception(20), Unavailable)  # it has shown a piece of what broke off
        assert plain.result(60).value == "whole"
    assert len(begun) == 2


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

    reader = iterate(flights.join("k", work, emit=bool))
    assert next(reader) == "piece"
    reader.close()
    assert handled == ["handled"]


def test_an_error_with_special_arguments_is_shared_completely() -> None:
    class OddError(Exception):
        def __init__(self, one: int, other: int) -> None:
            super().__init__(one, other)
            self.other = other

    flights, upstream = Flights(), Upstream(OddError(1, 2), OddError(3, 4))
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(run, flights.join("k", upstream.work)) for _ in range(5)]
        wait_until(lambda: count_waiters(flights) == 5)
        upstream.open.set()
        errors = [each.exception(20) for each in asked]
    assert all(isinstance(error, OddError) and error.args in {(1, 2), (3, 4)} for error in errors)


def test_a_forked_child_does_not_wait_for_its_parents_calls() -> None:
    flights, upstream = Flights(), Upstream()
    with ThreadPoolExecutor(1) as pool:
        parent = pool.submit(run, flights.join("k", upstream.work))
        wait_until(upstream.reached.is_set)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                upstream.open.set()
                os.write(write, run(flights.join("k", upstream.work)).value.encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as result:
            assert result.read() == "answer 2"
        upstream.open.set()
        assert parent.result(60).value == "answer 1"


def test_a_stream_that_is_collected_while_the_flights_are_looked_at_is_taken_off_board() -> None:
    flights = Flights()

    def work() -> Generator[str, Any, int]:
        yield "one"
        yield "two"
        return 3

    forgotten = flights.join("other", work, emit=lambda: None)
    assert get_first_piece(forgotten) == "one"

    def compute_left() -> float:
        forgotten.close()  # as the garbage collector may, in the middle of anything
        return 5.0

    joined = flights.join("key", work, emit=lambda: None, left=compute_left)
    assert get_first_piece(joined) == "one"
    assert flights.get_time_left("key") == 5.0
    assert flights.get_time_left("other") == 0.0
    joined.close()


def get_first_piece(call: Generator[Any, Any, Any]) -> Any:
    """Carry out *call* up to its first piece; unlike `iterate` it can then be closed as the garbage collector does it."""
    item = next(call)
    while type(item) is Step:
        item = call.send(item.blocking(*item.args))
    return item
