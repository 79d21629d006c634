"""Rate limits across threads, tasks and several event loops; no call polls, and no call waits for ever."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from llmcore.calls.drivers import arun, run
from llmcore.calls.limits import Limits
from llmcore.calls.steps import Step
from llmcore.config import LimitRule
from tests.kits.limits import MODEL
from tests.kits.waiting import await_until, wait_until


class Upstream:
    """Counts who is there at the same time, and lets them go when it is open."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open = threading.Event()
        self.inside = 0
        self.most = 0
        self.served: list[str] = []
        self._lock = threading.Lock()

    def call(self, name: str, left: Callable[[], float] = lambda: 60.0) -> Generator[Step, Any, str]:
        permit = yield from self.limits.acquire(*MODEL, 10, left)
        try:
            with self._lock:
                self.served.append(name)
                self.inside += 1
                self.most = max(self.most, self.inside)
            yield Step(self.open.wait, self._awaiting)
            with self._lock:
                self.inside -= 1
        finally:
            self.limits.release(permit, 5)
        return name

    async def _awaiting(self) -> None:
        await await_until(self.open.is_set)

    def waiting(self) -> int:
        queue = self.limits._providers.get(MODEL[0])
        return 0 if queue is None else sum(len(model.waiting) for model in list(queue.busy))


def start_threads(upstream: Upstream, names: list[str]) -> list[threading.Thread]:
    threads = [threading.Thread(target=lambda name=name: run(upstream.call(name))) for name in names]
    for thread in threads:
        thread.start()
    return threads


def start_loop(upstream: Upstream, names: list[str]) -> threading.Thread:
    async def main() -> None:
        await asyncio.gather(*(arun(upstream.call(name)) for name in names))

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    return thread


def test_threads_and_tasks_of_two_loops_share_the_places() -> None:
    upstream = Upstream(Limits({"": LimitRule(concurrency=5)}))
    threads = start_threads(upstream, [f"thread {number}" for number in range(40)])
    threads += [start_loop(upstream, [f"task {loop}.{number}" for number in range(40)]) for loop in (1, 2)]
    wait_until(lambda: upstream.waiting() == 115)
    assert upstream.inside == 5
    upstream.open.set()
    for thread in threads:
        thread.join(30)
    assert len(set(upstream.served)) == 120
    assert upstream.most == 5
    assert upstream.limits._providers[MODEL[0]].shared.busy == 0


def test_threads_and_tasks_share_the_rate() -> None:
    upstream = Upstream(Limits({"": LimitRule(requests_per_minute=6000)}))  # 100 at once, then 100 a second
    upstream.open.set()
    began = time.monotonic()
    threads = start_threads(upstream, [f"thread {number}" for number in range(60)])
    threads += [start_loop(upstream, [f"task {loop}.{number}" for number in range(45)]) for loop in (1, 2)]
    for thread in threads:
        thread.join(30)
    assert len(set(upstream.served)) == 150
    assert time.monotonic() - began >= 0.5  # the law: not sooner. How much later is the machine's affair


def test_places_are_given_to_threads_and_tasks_in_the_order_in_which_they_came() -> None:
    upstream = Upstream(Limits({"": LimitRule(concurrency=1)}))
    threads = start_threads(upstream, ["first"])
    wait_until(lambda: upstream.inside == 1)
    for number in range(6):
        make = start_threads if number % 2 else lambda upstream, names: [start_loop(upstream, names)]
        threads += make(upstream, [f"{number}"])
        wait_until(lambda number=number: upstream.waiting() == number + 1)  # type: ignore[misc]
    upstream.open.set()
    for thread in threads:
        thread.join(30)
    assert upstream.served == ["first", "0", "1", "2", "3", "4", "5"]


def test_a_cancelled_task_leaves_the_queue_and_the_next_one_moves_up() -> None:
    async def main() -> None:
        upstream = Upstream(Limits({"": LimitRule(concurrency=1)}))
        first = asyncio.ensure_future(arun(upstream.call("first")))
        await await_until(lambda: upstream.inside == 1)
        others = [asyncio.ensure_future(arun(upstream.call(f"{number}"))) for number in range(10)]
        await await_until(lambda: upstream.waiting() == 10)
        for task in others[:9]:
            task.cancel()
        await asyncio.gather(*others[:9], return_exceptions=True)
        assert upstream.waiting() == 1
        upstream.open.set()
        assert (await first, await others[9]) == ("first", "9")

    asyncio.run(main())


def test_a_task_that_is_cancelled_in_the_moment_of_its_turn_gives_it_to_the_next() -> None:
    async def main() -> None:
        upstream = Upstream(Limits({"": LimitRule(concurrency=1, requests_per_minute=60_000)}))
        held = upstream.call("held")
        next(held)
        tasks = [asyncio.ensure_future(arun(upstream.call(f"{number}"))) for number in range(2)]
        await await_until(lambda: upstream.waiting() == 2)
        upstream.open.set()
        held.close()  # grants the first call; its task has not run since
        assert upstream.waiting() == 1
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert await tasks[1] == "1"
        assert upstream.limits._providers[MODEL[0]].shared.busy == 0

    asyncio.run(main())


def test_a_call_that_is_collected_gives_its_place_back() -> None:
    upstream = Upstream(Limits({"": LimitRule(concurrency=1)}))
    call = upstream.call("lost")
    next(call)
    waiting = upstream.call("waits")
    next(waiting)
    del waiting
    gc.collect()
    assert upstream.waiting() == 0
    del call
    gc.collect()
    upstream.open.set()
    assert run(upstream.call("next")) == "next"


def test_a_loop_that_is_gone_does_not_hold_the_others_up() -> None:
    upstream = Upstream(Limits({"": LimitRule(concurrency=1)}))
    threads = start_threads(upstream, ["first"])
    wait_until(lambda: upstream.inside == 1)
    loop = asyncio.new_event_loop()
    lost = loop.create_task(arun(upstream.call("lost")))
    loop.run_until_complete(asyncio.sleep(0))
    assert upstream.waiting() == 1
    loop.close()
    threads += start_threads(upstream, ["next"])
    wait_until(lambda: upstream.waiting() == 2)
    upstream.open.set()
    for thread in threads:
        thread.join(30)
    assert upstream.served == ["first", "next"]
    lost._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_does_not_wait_for_its_parents_calls() -> None:
    upstream = Upstream(Limits({"": LimitRule(concurrency=1)}))
    held = upstream.call("held")
    next(held)
    pid = os.fork()
    if pid == 0:
        try:
            upstream.open.set()
            os._exit(0 if run(upstream.call("child", lambda: 0.0)) == "child" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    held.close()
