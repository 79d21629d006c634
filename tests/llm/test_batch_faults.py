"""Batches under adversity: slow items, iterators that fail, readers that leave, and disks that are full."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import AuthenticationFailed, BadRequest
from llmcore_testing.simulator import Fault, Simulator


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def make_config(upstream: Simulator) -> dict[str, Any]:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    return {
        "llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": openai},
        "cache": {"provider": "memory"},
        "retry": {"attempts": 1},
    }


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    with llmcore.load(make_config(upstream)) as core:
        yield core


def test_a_slow_first_item_lets_a_bounded_number_wait(core: Core, upstream: Simulator) -> None:
    read: list[int] = []

    def items() -> Iterator[Any]:
        for number in range(20_000):
            read.append(number)
            yield {"prompt": "first", "model": "openai:gpt-4.1-nano"} if number == 0 else f"q{number % 50}"

    upstream.fail(Fault.hang(), model="gpt-4.1-nano")
    with_order = core.llm.batch(items(), concurrency=4)

    async def watch() -> None:
        results = with_order.aresults()
        first = asyncio.ensure_future(anext(results))
        await asyncio.to_thread(upstream.wait_for, lambda: upstream.counts["requests"] >= 51)
        before = -1
        while before != len(read):  # until no more are read
            before = len(read)
            await asyncio.sleep(0.2)
        assert not first.done()
        assert 100 < len(read) < 2_000
        first.cancel()
        await asyncio.wait([first])
        await results.aclose()

    asyncio.run(watch())


def test_equal_items_of_a_slow_request_are_bounded_too(core: Core, upstream: Simulator) -> None:
    read: list[int] = []

    def items() -> Iterator[str]:
        for number in range(20_000):
            read.append(number)
            yield "same"

    upstream.hold()
    run = core.llm.batch(items())

    async def take() -> int:
        found = aiter(run)
        first = asyncio.ensure_future(anext(found))
        await asyncio.to_thread(upstream.wait_for_requests, 1)
        assert len(read) < 2_000
        upstream.release()
        await first
        return 1 + len([item async for item in found])

    assert asyncio.run(take()) == 20_000
    assert upstream.counts["requests"] == 1


def test_only_the_item_that_was_sent_has_a_cost(core: Core) -> None:
    run = core.llm.batch(["a", "a", "b", "a"])
    for found in (list(run.results()), list(core.llm.resume_batch(run.id).results())):
        costs = [item.reply.cost for item in found if item.reply]
        assert [cost != 0 for cost in costs] == [True, False, True, False]
        assert sum(cost for cost in costs if cost) == run.summary.cost == core.usage.totals().cost


def test_items_may_come_from_an_async_generator(core: Core) -> None:
    ended: list[bool] = []

    async def items() -> AsyncIterator[str]:
        try:
            for number in range(40):
                if number % 10 == 0:
                    await asyncio.sleep(0)
                yield f"q{number}"
        finally:
            ended.append(True)

    async def collect() -> list[int]:
        return [item.index async for item in core.llm.batch(items()).aresults()]

    assert asyncio.run(collect()) == list(range(40))
    assert [item.index for item in core.llm.batch(items()).results()] == list(range(40))
    assert ended == [True, True]


def test_requests_go_on_while_the_next_item_is_awaited(core: Core, upstream: Simulator) -> None:
    async def collect() -> int:
        more = asyncio.Event()

        async def items() -> AsyncIterator[str]:
            yield "a"
            await more.wait()
            yield "b"

        count = 0
        async for _ in core.llm.batch(items()):
            count += 1
            more.set()
        return count

    assert asyncio.run(collect()) == 2
    assert upstream.counts["requests"] == 2


def test_a_run_that_stops_does_not_wait_for_the_next_item(core: Core, upstream: Simulator) -> None:
    upstream.fail(Fault.status(401))

    async def collect() -> None:
        async def items() -> AsyncIterator[str]:
            yield "a"
            await asyncio.Event().wait()  # for ever

        async for _ in core.llm.batch(items()):
            pass

    with pytest.raises(AuthenticationFailed):
        asyncio.run(asyncio.wait_for(collect(), 60))


def test_an_iterator_that_fails_ends_the_run_after_what_was_sent(core: Core, upstream: Simulator) -> None:
    def items() -> Iterator[str]:
        yield from map(str, range(5))
        raise OSError("the disk is gone")

    run = core.llm.batch(items())
    found: list[int] = []
    with pytest.raises(OSError, match="the disk is gone"):
        found.extend(item.index for item in run)
    assert sorted(found) == list(range(5))
    assert (run.summary.done, upstream.counts["requests"]) == (5, 5)
    assert not core.usage.open()


def test_a_reader_that_leaves_ends_the_run(core: Core, upstream: Simulator) -> None:
    async def leave() -> str:
        run = core.llm.abatch(map(str, range(10_000)), concurrency=4)
        async for _ in run:
            break
        while True:  # the event loop closes the iterator
            try:
                again = core.llm.resume_batch(run.id, ["0"])
                assert [item.index async for item in again] == [0]
            except llmcore.errors.LLMCoreError:
                await asyncio.sleep(0.01)
            else:
                return run.id

    asyncio.run(leave())
    assert upstream.wait_for(lambda: upstream.in_flight == 0)
    assert upstream.counts["requests"] < 100
    assert not [row for row in core.usage.open() if row["state"] == "open"]


def test_an_iterator_is_read_once_and_the_run_may_be_read_again(core: Core, upstream: Simulator) -> None:
    run = core.llm.batch(iter(["a", "b"]))
    assert len(list(run)) == 2
    assert [item.index for item in run.results()] == [0, 1]
    assert upstream.counts["requests"] == 2
    half = core.llm.batch(map(str, range(5_000)))
    next(iter(half))
    with pytest.raises(BadRequest, match="had not read its input to the end"):
        list(half)


def test_the_summary_can_be_read_during_the_run(core: Core) -> None:
    run = core.llm.batch(map(str, range(20)))
    seen = [run.summary.done for _ in run]
    assert seen[-1] == 20
    assert all(1 <= done <= 20 for done in seen)


FULL_DISK = """
import json, resource, sys, llmcore
config = json.loads(sys.argv[1])
with llmcore.load(config) as core:
    core.llm.chat("warm up")
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    run = core.llm.batch([f"q{number} " * 400 for number in range(2_000)], concurrency=4)
    try:
        for item in run: pass
    except llmcore.errors.LLMCoreError as error:
        print(json.dumps([error.code, run.id]))
"""


def test_a_full_disk_ends_the_run_with_an_error(upstream: Simulator, core: Core) -> None:
    config = json.dumps({**make_config(upstream), "ledger": {"enabled": False}})
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, config], check=True, capture_output=True, text=True, timeout=300
    )
    code, run_id = json.loads(done.stdout)
    assert code == "LC324"
    sent = upstream.counts["requests"]
    assert sent < 1_000
    items = [f"q{number} " * 400 for number in range(60)]
    assert len([item for item in core.llm.resume_batch(run_id, items) if item.reply]) == 60
    assert upstream.counts["requests"] - sent < 60, "the answers before the failure are in the file"
