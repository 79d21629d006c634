"""Batches on an engine: what workers share, and what happens when one of them ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import BadRequest, BudgetExceeded, ConfigError, EngineError, LedgerError
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore.llm.batch.chunk_run import ChunkRun, RequestSlots
from llmcore.llm.batch.chunks import decode_reply
from llmcore.support.ledger_runs import ItemState
from llmcore.types import Reply
from llmcore_testing.simulator import Fault, Simulator
from tests.kits.engines import KEY, CountsSlowly, RunsTwice, find_children, make_config

WORKERS: dict[str, Any] = {"engines": {"local": {"workers": 2}}}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sk-test")


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def core(shared_upstream: Simulator) -> Iterator[Core]:
    """One Core for the tests that leave its workers alive."""
    with llmcore.load(make_config(shared_upstream, "local", **WORKERS)) as core:
        yield core


@pytest.fixture
def requests(shared_upstream: Simulator) -> Iterator[Any]:
    """Return a function that counts the requests of this test."""
    before = shared_upstream.counts["requests"]
    yield lambda: shared_upstream.counts["requests"] - before
    shared_upstream.reset()


def find_runs(core: Core) -> list[Path]:
    """Return the files in which workers share runs."""
    folder = Path(f"{core.settings.ledger.path}.runs")
    return sorted(folder.iterdir()) if folder.exists() else []


def test_equal_items_are_sent_once_by_all_workers_together(core: Core, requests: Any) -> None:
    run = core.llm.batch(f"a{number % 150}" for number in range(400))
    found = {item.index: item.reply for item in run if item.reply}
    assert {index: reply.text.rpartition(" ")[2] for index, reply in found.items()} == {
        number: f"a{number % 150}" for number in range(400)
    }
    assert requests() == 150
    assert run.summary.done == 400
    assert find_runs(core) == [], "the answers of a finished run are only in its own file"
    rows = [row for row in core.usage.by("tag") if row.name == f"batch:{run.id}"]
    assert [(row.requests, row.cost) for row in rows] == [(150, run.summary.cost)]


def test_results_keep_their_order_and_bad_items_fail_alone(core: Core, requests: Any) -> None:
    items = ["b0", "", "b2", 5, {"prompt": "b4", "temperature": 0.5}, "b5"]

    async def collect() -> list[Any]:
        return [item async for item in core.llm.abatch(items).aresults()]

    found = asyncio.run(collect())
    assert [item.index for item in found] == list(range(6))
    assert [item.error is None for item in found] == [True, False, True, False, True, True]
    assert requests() == 4


def test_a_refused_item_keeps_the_parts_of_its_error(core: Core, shared_upstream: Simulator) -> None:
    shared_upstream.fail(Fault.status(400, message="the server refuses it"), times=None)
    try:
        (item,) = core.llm.batch(["c"])
    finally:
        shared_upstream.reset()
    assert isinstance(item.error, BadRequest)
    assert "the server refuses it" in item.error.message
    assert (item.error.provider, item.error.status, item.error.code) == ("openai", 400, "LC300")


def test_texts_are_embedded_by_workers(core: Core) -> None:
    found = list(core.llm.batch(["d0", "d1"], api="embeddings", model="text-embedding-3-small").results())
    assert [len(item.reply.raw["data"]) for item in found if item.reply] == [1, 1]


def test_a_spent_budget_stops_all_workers_and_the_run_is_resumed(core: Core, requests: Any) -> None:
    items = [f"e{number}" for number in range(300)]
    run = core.llm.batch(items, budget="0.001 USD", max_tokens=20)
    with pytest.raises(BudgetExceeded) as caught:
        list(run)
    assert caught.value.limit == Decimal("0.001")
    assert Decimal("0.0005") < run.summary.cost <= Decimal("0.001")
    sent = requests()
    resumed = core.llm.resume_batch(run.id, items, budget="1 USD", max_tokens=20)
    assert all(item.reply for item in resumed)
    assert sent < requests() == 300
    assert not [row for row in core.usage.open() if row["state"] == "open"]


def test_a_chunk_that_runs_twice_is_paid_once(core: Core, requests: Any) -> None:
    backend = core.backend("engines")
    twice = RunsTwice(backend.provider)
    backend._provider = twice
    try:
        assert all(item.reply for item in core.llm.batch(f"f{number}" for number in range(250)))
        for future in twice.futures:
            future.result(60)
    finally:
        backend._provider = twice.inner
    assert requests() == 250


def test_no_chunk_is_sent_before_the_slots_are_counted(core: Core, requests: Any) -> None:
    backend = core.backend("engines")
    slow = CountsSlowly(backend.provider)
    backend._provider = slow
    try:
        assert all(
            item.reply for item in core.llm.batch((f"slots {number}" for number in range(150)), concurrency=4)
        )
    finally:
        backend._provider = slow.inner
    assert not slow.was_early, "the concurrency of a chunk depends on the number of slots"
    assert requests() == 150


def test_answers_of_a_chunk_are_returned_although_the_ledger_does_not_take_them() -> None:
    """They are paid for: the process that reads the result stores them in the file of the run."""

    async def ask(name: str, *args: Any) -> Any:
        if name == "finish_items":
            raise LedgerError("the ledger is damaged")
        return [ItemState("mine") for _ in args[1]] if name == "claim_items" else None

    async def send(body: Any, _: object) -> Reply[Any]:
        return Reply(text=f"answer {body}", model="m")

    run = ChunkRun([(b"1", b"1"), (b"2", b"2")], ask, send, RequestSlots(ConcurrencyController()))
    result = asyncio.run(run.run())
    assert result.stop is not None
    found = [decode_reply(each).text for each in result.replies if each is not None]
    assert found == ["answer 1", "answer 2"]


def test_a_reader_that_leaves_stops_the_workers(core: Core, requests: Any) -> None:
    items = [f"g{number}" for number in range(2000)]
    run = core.llm.batch(items)
    results = iter(run)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(find_runs(core)) > 0, "the answers of the workers are kept"
    assert all(item.reply for item in core.llm.resume_batch(run.id, items))
    assert requests() == 2000
    assert find_runs(core) == []


def test_an_engine_run_is_not_paid_again_without_its_engine(
    core: Core, shared_upstream: Simulator, requests: Any
) -> None:
    items = [f"h{number}" for number in range(1000)]
    run = core.llm.batch(items)
    results = iter(run)
    next(results)
    results.close()  # type: ignore[attr-defined]
    with llmcore.load(make_config(shared_upstream, "local")) as other:
        before = requests()
        lanes: tuple[Any, ...] = (None, "queue")
        for lane in lanes:
            with pytest.raises(BadRequest, match="engine `local`") as caught:
                list(other.llm.resume_batch(run.id, items, lane=lane))
            assert caught.value.code == "LC321"
        assert all(item.reply for item in core.llm.resume_batch(run.id, items, lane="now"))
        assert before <= requests() == 1000
        assert all(item.reply for item in other.llm.resume_batch(run.id, items)), "a finished run is read"
    assert requests() == 1000


def test_workers_get_the_receivers_of_alerts_as_references(upstream: Simulator) -> None:
    tables: dict[str, Any] = {
        "budget": {"limit": "9 USD", "alert_at": [0.5], "alert_email": ["ann@example.com"]},
        "smtp": {"host": "127.0.0.1"},
    }
    with llmcore.load(make_config(upstream, "local", **WORKERS, **tables)) as core:
        assert [item.error for item in core.llm.batch(["a"])] == [None]
    tables["budget"]["alert_url"] = "https://example.com/hook-secret"
    listed = {"smtp": tables["smtp"], "budgets": [{"tag": "x", **tables["budget"]}]}
    for given in (tables, listed):
        with (
            llmcore.load(make_config(upstream, "local", **WORKERS, **given)) as core,
            pytest.raises(ConfigError) as caught,
        ):
            list(core.llm.batch(["b"]))
        assert caught.value.code == "LC109"
        assert "hook-secret" not in str(caught.value)
        assert "ALERT_URL" in (caught.value.fix or "")


def test_a_worker_that_is_killed_loses_only_its_requests_in_flight() -> None:
    with (
        Simulator(latency_s=0.05) as upstream,
        llmcore.load(make_config(upstream, "local", **WORKERS)) as core,
    ):
        known = set(find_children())
        run = core.llm.batch((str(number) for number in range(400)), concurrency=8, cache=False)
        results = iter(run)
        found = [next(results)]
        assert upstream.wait_for(lambda: upstream.counts["requests"] >= 100, 60)
        os.kill((set(find_children()) - known).pop(), signal.SIGKILL)
        found += results
    assert [item.error for item in found if item.error] == []
    assert sorted(item.index for item in found) == list(range(400))
    in_flight = 4  # each of the two workers has two chunks with two requests
    assert upstream.counts["requests"] <= 400 + in_flight


def test_a_killed_program_is_resumed_without_paying_twice(upstream: Simulator) -> None:
    config = make_config(upstream, "local", **WORKERS)
    script = (
        "import json, os, signal, sys, llmcore\n"
        "core = llmcore.load(json.loads(sys.argv[1]))\n"
        "run = core.llm.batch((str(number) for number in range(600)), cache=False)\n"
        "print(run.id, flush=True)\n"
        "for count, item in enumerate(run):\n"
        "    if count == 50:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(config)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with llmcore.load(config) as core:
        items = [str(number) for number in range(600)]
        resumed = core.llm.resume_batch(done.stdout.strip(), items, cache=False)
        assert all(item.reply for item in resumed)
        assert find_runs(core) == []
    assert upstream.counts["requests"] == 600, (
        "the workers completed what they had begun, and nothing is sent again"
    )


def test_a_secret_that_is_not_a_reference_is_not_sent_to_workers(upstream: Simulator) -> None:
    config = make_config(upstream, "local", **WORKERS)
    config["llm"]["openai"]["api_key"] = "sk-written-out"
    with llmcore.load(config) as core, pytest.raises(ConfigError) as caught:
        list(core.llm.batch(["a"]))
    assert caught.value.code == "LC109"
    assert "sk-written-out" not in str(caught.value)
    assert "env:OPENAI_API_KEY" in (caught.value.fix or "")
    assert upstream.counts["requests"] == 0


def test_without_a_ledger_no_worker_begins(upstream: Simulator) -> None:
    config = make_config(upstream, "local", **WORKERS, ledger={"enabled": False})
    with llmcore.load(config) as core, pytest.raises(EngineError) as caught:
        list(core.llm.batch(["a"]))
    assert caught.value.code == "LC331"
    assert upstream.counts["requests"] == 0


def test_the_lane_of_the_vendor_has_no_engine(upstream: Simulator) -> None:
    config = make_config(
        upstream, "local", engines={"local": {"workers": 2}, "own": {"use": "local", "workers": 2}}
    )
    with (
        llmcore.load(config) as core,
        pytest.raises(BadRequest, match='the engine `own` cannot run the lane "queue"'),
    ):
        core.llm.batch(["a"], engine="own", lane="queue")
