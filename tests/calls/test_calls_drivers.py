"""A call is written once and driven sync and async: what holds for one driver holds for its twin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest

from llmcore.calls.drivers import Abandoned, aiterate, arun, iterate, run
from llmcore.calls.steps import Step

Drive = Callable[[Generator[Any, Any, Any]], Any]


def _run_async(call: Generator[Any, Any, Any]) -> Any:
    return asyncio.run(arun(call))


def _list_items(call: Generator[Any, Any, Any]) -> list[Any]:
    return list(iterate(call))


def _list_async_items(call: Generator[Any, Any, Any]) -> list[Any]:
    async def collect() -> list[Any]:
        return [piece async for piece in aiterate(call)]

    return asyncio.run(collect())


plain = pytest.mark.parametrize("drive", [run, _run_async])
streaming = pytest.mark.parametrize("drive", [_list_items, _list_async_items])


def add(left: int, right: int) -> Step:
    async def awaiting(one: int, other: int) -> int:
        await asyncio.sleep(0)
        return one + other

    return Step(lambda one, other: one + other, awaiting, left, right)


def make_failing_step(error: Exception) -> Step:
    def blocking() -> None:
        raise error

    async def awaiting() -> None:
        raise error

    return Step(blocking, awaiting)


@plain
def test_a_call_gets_each_result_and_returns_its_own(drive: Drive) -> None:
    def call() -> Generator[Step, Any, str]:
        three = yield add(1, 2)
        six = yield add(three, 3)
        return f"{three} {six}"

    assert drive(call()) == "3 6"


@plain
def test_a_step_that_never_waits_needs_one_variant_only(drive: Drive) -> None:
    def call() -> Generator[Step, Any, str]:
        upper: str = yield Step(str.upper, None, "a")
        return upper

    assert drive(call()) == "A"


@plain
def test_an_exception_of_a_step_is_raised_inside_the_call(drive: Drive) -> None:
    def call() -> Generator[Step, Any, str]:
        try:
            yield make_failing_step(ValueError("no"))
        except ValueError as error:
            five = yield add(2, 3)
            return f"{error} {five}"
        return "unreached"

    assert drive(call()) == "no 5"


@plain
def test_an_unhandled_exception_reaches_the_caller(drive: Drive) -> None:
    def call() -> Generator[Step, Any, None]:
        yield make_failing_step(ValueError("no"))

    with pytest.raises(ValueError, match="no"):
        drive(call())


@plain
def test_a_replacing_error_has_no_reference_to_the_replaced_one(drive: Drive) -> None:
    def call() -> Generator[Step, Any, None]:
        failed = False
        try:
            yield make_failing_step(ValueError("with a request object"))
        except ValueError:
            failed = True
        if failed:
            raise KeyError("ours")

    with pytest.raises(KeyError) as caught:
        drive(call())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@plain
def test_a_step_that_raises_stop_iteration_does_not_end_the_call_as_if_it_had_returned(drive: Drive) -> None:
    def call() -> Generator[Step, Any, str]:
        yield Step(lambda: next(iter(())), None)
        return "unreached"

    with pytest.raises(RuntimeError):
        drive(call())


@streaming
def test_items_that_are_not_steps_are_yielded_in_order(drive: Drive) -> None:
    def call() -> Generator[Any, Any, None]:
        yield "a"
        yield str((yield add(1, 1)))
        yield "c"

    assert drive(call()) == ["a", "2", "c"]


def test_a_blocking_consumer_that_stops_early_lets_the_call_clean_up_with_further_steps() -> None:
    seen: list[str] = []
    stream = iterate(_cleaning(seen))
    assert next(stream) == "first"
    stream.close()
    assert seen == ["abandoned", "closed 3"]


def test_an_asynchronous_consumer_that_stops_early_lets_the_call_clean_up_with_further_steps() -> None:
    seen: list[str] = []

    async def main() -> None:
        stream = aiterate(_cleaning(seen))
        assert await anext(stream) == "first"
        await stream.aclose()

    asyncio.run(main())
    assert seen == ["abandoned", "closed 3"]


def test_a_cancelled_task_lets_the_call_clean_up_with_further_steps_and_stays_cancelled() -> None:
    seen: list[str] = []
    waiting = asyncio.Event()

    async def hang() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def call() -> Generator[Step, Any, None]:
        try:
            yield Step(lambda: None, hang)
        finally:
            seen.append(f"closed {yield add(1, 2)}")

    async def main() -> None:
        task = asyncio.create_task(arun(call()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["closed 3"]


def _cleaning(seen: list[str]) -> Generator[Any, Any, None]:
    try:
        yield "first"
        yield "second"
    except Abandoned:
        seen.append("abandoned")
        seen.append(f"closed {yield add(1, 2)}")
        raise
