"""`gather`: results in order, a maximum number of concurrent tasks, and the first failure raised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from llmcore.calls.drivers import arun, run
from llmcore.calls.gather import gather
from llmcore.calls.steps import Act, Step


def run_in_mode(mode: str, works: list[Callable[[], Act[Any]]], width: int) -> Any:
    def call() -> Act[Any]:
        return (yield gather(works, width))

    return run(call()) if mode == "sync" else asyncio.run(arun(call()))


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Meeting:
    """Work that ends when *size* of its kind run at once."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self.here = 0
        self.most = 0
        self.full: asyncio.Event | None = None
        self.size = size

    def work(self, value: int) -> Callable[[], Act[int]]:
        def act() -> Act[int]:
            yield Step(self._meet, self._ameet)
            return value

        return act

    def _meet(self) -> None:
        self.barrier.wait(60)

    async def _ameet(self) -> None:
        self.full = self.full or asyncio.Event()
        self.here += 1
        self.most = max(self.most, self.here)
        if self.here == self.size:
            self.full.set()
        await self.full.wait()
        self.here -= 1


def test_results_are_in_order_and_up_to_the_limit_run_at_once(mode: str) -> None:
    meeting = Meeting(3)
    assert run_in_mode(mode, [meeting.work(at) for at in range(3)], 3) == [0, 1, 2]


def test_no_more_than_the_limit_run_at_once(mode: str) -> None:
    running: list[int] = []
    most: list[int] = []

    def work() -> Act[None]:
        def blocking() -> None:
            running.append(1)
            most.append(len(running))
            running.pop()

        async def awaiting() -> None:
            running.append(1)
            most.append(len(running))
            await asyncio.sleep(0)
            running.pop()

        yield Step(blocking, awaiting)

    run_in_mode(mode, [work] * 50, 4)
    assert len(most) == 50
    assert max(most) <= 4


def test_the_first_failure_is_raised_and_no_further_task_starts(mode: str) -> None:
    begun: list[int] = []

    def work(at: int) -> Callable[[], Act[None]]:
        def act() -> Act[None]:
            begun.append(at)
            yield Step(lambda: None, None)
            if at == 1:
                raise ValueError("the second")

        return act

    with pytest.raises(ValueError, match="the second") as caught:
        run_in_mode(mode, [work(at) for at in range(20)], 1)
    assert begun == [0, 1]
    assert caught.value.__context__ is None


def test_running_tasks_are_cancelled_by_a_failure_and_by_the_caller() -> None:
    ended: list[str] = []

    def slow() -> Act[None]:
        try:
            yield Step(lambda: None, lambda: asyncio.sleep(60))
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    def failing() -> Act[None]:
        yield Step(lambda: None, lambda: asyncio.sleep(0))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_in_mode("async", [slow, failing], 2)
    assert ended == ["cancelled"]

    async def main() -> None:
        def call() -> Act[Any]:
            return (yield gather([slow, slow], 2))

        task = asyncio.ensure_future(arun(call()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert ended == ["cancelled"] * 3


def test_no_tasks_return_no_results() -> None:
    assert run_in_mode("sync", [], 3) == []
