"""Batches on an engine whose workers, ledger or cluster fail, and budgets of resumed runs."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

import llmcore
from llmcore.batch_worker import make_engines
from llmcore.core import Core
from llmcore.errors import BudgetExceeded, EngineError, LedgerError, LedgerUnavailable, QuotaExhausted
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore.llm.batch.chunk_run import ChunkRun, RequestSlots
from llmcore.llm.batch.chunks import ChunkResult, encode_error
from llmcore.types import Reply
from llmcore_testing.simulator import Simulator
from tests.kits.engines import KEY, make_config


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-test")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    with llmcore.load(make_config(upstream, "local", engines={"local": {"workers": 1}})) as core:
        yield core


@pytest.fixture
def requests(upstream: Simulator) -> Callable[[], int]:
    """Return a function that counts the requests of this test."""
    before = upstream.counts["requests"]
    return lambda: upstream.counts["requests"] - before


class InThisProcess:
    """An engine that runs chunks in this process. *change* may change their results."""

    def __init__(self, change: Callable[[bytes], bytes] = bytes) -> None:
        self._change = change
        self.calls: Counter[str] = Counter()

    def count_slots(self) -> int:
        self.calls["count_slots"] += 1
        return 2

    def submit(self, function: Callable[[bytes], bytes], data: bytes) -> Future[bytes]:
        self.calls["submit"] += 1
        future: Future[bytes] = Future()
        future.set_result(self._change(function(data)))
        return future

    def close(self) -> None:
        pass


def test_a_chunk_that_ends_with_a_fault_stops_the_run_and_keeps_its_answers(
    core: Core, requests: Callable[[], int]
) -> None:
    def add_fault(data: bytes) -> bytes:
        result = msgspec.msgpack.decode(data, type=ChunkResult)
        return msgspec.msgpack.encode(
            msgspec.structs.replace(result, stop=encode_error(LedgerError("the disk is full")))
        )

    items = [f"a{number}" for number in range(5)]
    core.backend("engines")._provider = InThisProcess(add_fault)
    run = core.llm.batch(items)
    results = iter(run)
    assert [next(results).error for _ in items] == [None] * 5, "the answers are paid for"
    with pytest.raises(LedgerError, match="the disk is full"):
        next(results)
    core.backend("engines")._provider = InThisProcess()
    assert all(item.reply for item in core.llm.resume_batch(run.id, items))
    assert requests() == 5


def test_a_ledger_that_cannot_be_reached_stops_the_run_and_fails_no_item(
    upstream: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/none")
    ledger = {"provider": "postgres", "postgres": {"url": "env:DATABASE_URL", "connect_timeout": "1s"}}
    config = make_config(upstream, "local", engines={"local": {"workers": 1}}, ledger=ledger)
    with llmcore.load(config) as core:
        run = core.llm.batch(["b0", "b1"])
        with pytest.raises(LedgerUnavailable):
            list(run)
        assert run.summary.failed == 0


def test_slots_that_cannot_be_counted_are_counted_once(core: Core) -> None:
    class Away(InThisProcess):
        def count_slots(self) -> int:
            super().count_slots()
            raise EngineError("the cluster is away")

    core.backend("engines")._provider = away = Away()
    with pytest.raises(EngineError, match="the cluster is away"):
        list(core.llm.batch(f"c{number}" for number in range(200)))
    assert away.calls == {"count_slots": 1}, "the second chunk waited for another count"


def test_a_cancelled_run_leaves_no_task_behind_while_slots_are_counted(core: Core) -> None:
    class Starting(InThisProcess):
        begins, may_end = threading.Event(), threading.Event()

        def count_slots(self) -> int:
            self.begins.set()
            self.may_end.wait(60)
            return 1

    engine = core.backend("engines")._provider = Starting()

    async def cancel() -> set[asyncio.Task[Any]]:
        items = aiter(core.llm.batch(["s"]))
        reading = asyncio.ensure_future(anext(items))
        assert await asyncio.to_thread(engine.begins.wait, 60)
        reading.cancel()
        await asyncio.wait((reading,))
        return asyncio.all_tasks() - {asyncio.current_task()}

    try:
        assert asyncio.run(cancel()) == set()
    finally:
        engine.may_end.set()


@pytest.mark.parametrize("engine", [None, InThisProcess()], ids=["workers", "this process"])
def test_a_resumed_run_has_its_own_budget_or_none(
    core: Core, requests: Callable[[], int], engine: InThisProcess | None
) -> None:
    if engine is not None:
        core.backend("engines")._provider = engine
    items = [f"d{number} {engine is None}" for number in range(60)]
    run = core.llm.batch(items, budget="0.0002 USD", max_tokens=20)
    with pytest.raises(BudgetExceeded):
        list(run)
    with pytest.raises(BudgetExceeded):
        list(core.llm.resume_batch(run.id, items, budget="0.0003 USD", max_tokens=20))
    assert all(item.reply for item in core.llm.resume_batch(run.id, items, max_tokens=20))
    assert requests() == 60


def test_a_worker_gives_its_items_up_after_an_outage_of_the_ledger(core: Core) -> None:
    """The process of a worker lives on after the outage, so no other claim of its items would be granted."""
    outage = iter([True, True, False])

    async def refuse(*_: object) -> Reply[Any]:
        raise QuotaExhausted("no credit", provider="openai")

    async def answer(*_: object) -> Reply[Any]:
        return Reply(text="yes", model="m")

    async def run_twice() -> ChunkResult:
        shared = make_engines(core).share("outage")
        await shared.open()

        async def ask(name: str, *args: Any) -> Any:
            if name == "release_items" and next(outage, False):
                raise LedgerUnavailable("the server restarts")
            return await shared.ask(name, *args)

        items = [(b"1", b"1"), (b"2", b"2")]
        first = await ChunkRun(items, ask, refuse, RequestSlots(ConcurrencyController())).run()
        assert first.stop is not None
        return await asyncio.wait_for(
            ChunkRun(items, ask, answer, RequestSlots(ConcurrencyController())).run(), 60
        )

    second = asyncio.run(run_twice())
    assert None not in second.replies
