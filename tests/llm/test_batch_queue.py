"""The lane `queue`: vendors' batches at half price, each fault of a queue booked exactly once, and runs that are resumed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import AuthenticationFailed, BudgetExceeded, PluginError
from llmcore.llm.batch.items import BatchItem
from llmcore.types import BatchRequest, ChatRequest, Message
from llmcore_testing.simulator import Fault, Simulator

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5"}
PROMPTS = [f"Question {number}" for number in range(10)]


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def upstream(server: Simulator) -> Simulator:
    server.reset()
    return server


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_config(upstream: Simulator, provider: str = "openai", **tables: Any) -> dict[str, Any]:
    url = upstream.base_url if provider == "openai" else upstream.url
    options = {"base_url": url, "api_key": "sk-test"}
    return {
        "llm": {"provider": provider, "model": f"{provider}:{MODELS[provider]}", provider: options},
        "cache": {"provider": "memory"},
        **tables,
    }


@pytest.fixture
def core(upstream: Simulator, provider: str) -> Iterator[Core]:
    with llmcore.load(make_config(upstream, provider)) as core:
        yield core


def answer(prompt: str) -> str:
    return f"This is a simulated answer to: {prompt}"


def get_text(item: BatchItem) -> str:
    assert item.reply is not None, item.error
    return item.reply.text


def check_books(core: Core, upstream: Simulator, *, uncertain: int = 0) -> list[dict[str, Any]]:
    """Check that each answer that the vendor bills is booked once, at the price of the tier batch; return the rows."""
    rows = [row for row in core.usage.export() if row["state"] != "hit"]
    assert not [row for row in rows if row["state"] == "open"], "a reservation was left"
    done = [row for row in rows if row["state"] == "done"]
    assert len(done) + uncertain == upstream.counts["batch_items"] + upstream.counts["chat"]
    assert sum(bool(row["uncertain"]) for row in rows) == uncertain
    return rows


def test_a_run_is_one_batch_at_half_the_price(core: Core, upstream: Simulator, provider: str) -> None:
    run = core.llm.batch([*PROMPTS, *PROMPTS[:5]], lane="queue", max_tokens=50)
    found = {item.index: item.reply for item in run if item.reply}
    assert [found[index].text for index in range(15)] == [answer(text) for text in [*PROMPTS, *PROMPTS[:5]]]
    assert (upstream.counts["batches"], upstream.counts["batch_items"], upstream.counts["chat"]) == (1, 10, 0)
    reply = found[0]
    live = core.llm.price(reply.usage, model=f"{provider}:{MODELS[provider]}")
    assert live is not None
    assert (reply.cost, reply.service_tier, reply.provider) == (live / 2, "batch", provider)
    rows = check_books(core, upstream)
    assert {row["tier"] for row in rows} == {"batch"}
    assert sum(Decimal(row["cost"]) for row in rows) == run.summary.cost == core.usage.totals().cost
    assert core.llm.chat(PROMPTS[3], max_tokens=50).cached, "the answers of a batch are in the cache"


def test_cached_and_malformed_items_are_not_sent(core: Core, upstream: Simulator) -> None:
    core.llm.chat("Question 0")
    run = core.llm.batch(["Question 0", {"prompt": ""}, "Question 1"], lane="queue")
    items = list(run.results())
    assert [item.index for item in items] == [0, 1, 2]
    assert [item.reply.cached if item.reply else None for item in items] == [True, None, False]
    assert upstream.counts["batch_items"] == 1


FAULTS = {
    "expired": (Fault.batch("expired"), 2, 0),
    "half_done": (Fault.batch("half_done"), 2, 0),
    "error_file_only": (Fault.batch("error_file_only"), 2, 0),
    "validation_failed": (Fault.batch("validation_failed"), 2, 0),
    "results_twice": (Fault.batch("results_twice"), 1, 0),
    "reordered": (Fault.batch("reordered"), 1, 0),
    "lost": (Fault.batch("lost"), 1, 0),
    "listed_late": (Fault.batch("listed_late"), 1, 0),
    "429": (Fault.status(429, retry_after=0), 1, 0),
    "no_output_file": (Fault.batch("no_output_file"), 1, 10),
    "bad_line": (Fault.batch("bad_line"), 1, 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_queue_is_booked_exactly_once(
    core: Core, upstream: Simulator, provider: str, fault: str
) -> None:
    planned, batches, uncertain = FAULTS[fault]
    upstream.fail(planned, path="/batches")
    run = core.llm.batch(PROMPTS, lane="queue", max_tokens=50)
    items = list(run)
    assert sorted(item.index for item in items) == list(range(10))
    refused = 1 if fault == "validation_failed" and provider == "openai" else 0
    errors = [item.error for item in items if item.error is not None]
    assert len(errors) == uncertain + refused, errors
    assert upstream.counts["batch_items"] == 10 - refused
    if not (
        fault == "validation_failed" and provider == "anthropic"
    ):  # refused before it exists, then halved
        assert upstream.counts["batches"] == batches
    check_books(core, upstream, uncertain=uncertain)
    if uncertain:
        again = list(core.llm.resume_batch(run.id))
        assert all(item.reply is not None for item in again)
        check_books(core, upstream, uncertain=uncertain)


def test_the_list_of_batches_is_read_to_its_last_page(core: Core, provider: str) -> None:
    backend = core.backend("llm", provider).provider
    chat = ChatRequest(
        messages=(Message(role="user", content="Hello"),),
        model=MODELS[provider],
        parameters={"max_tokens": 5},
    )
    made = {backend.submit([BatchRequest(id="a", request=chat)], {}).id for _ in range(101)}  # a page has 100
    assert {each.id for each in backend.list_batches(0.0)} == made
    assert {each.id for each in asyncio.run(backend.alist_batches(0.0))} == made


def test_a_reader_that_leaves_finds_its_batch_again(core: Core, provider: str) -> None:
    del core
    with Simulator(holds_batches=True) as held, llmcore.load(make_config(held, provider)) as own:
        run = own.llm.batch(PROMPTS, lane="queue", max_tokens=50)

        async def leave() -> None:
            task = asyncio.ensure_future(anext(aiter(run)))
            await asyncio.to_thread(held.wait_for, lambda: held.counts["batches"] == 1)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(leave())
        assert [row["state"] for row in own.usage.export()] == ["open"] * 10
        held.finish_batches()
        again = list(own.llm.resume_batch(run.id))
        assert {get_text(item) for item in again} == {answer(text) for text in PROMPTS}
        assert (held.counts["batches"], held.counts["batch_items"]) == (1, 10)
        check_books(own, held)


@pytest.mark.process
def test_a_batch_outlives_a_program_that_ends_before_it() -> None:
    with Simulator(holds_batches=True) as held:
        config = make_config(held)
        program = f"""
import asyncio, sys, llmcore
core = llmcore.load({config!r})
run = core.llm.batch({PROMPTS!r}, lane="queue", max_tokens=50)
async def leave():
    task = asyncio.ensure_future(anext(aiter(run)))
    await asyncio.to_thread(sys.stdin.readline)
    task.cancel()
    await asyncio.wait([task])
print(run.id, flush=True)
asyncio.run(leave())
"""
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            assert held.wait_for(lambda: held.counts["batches"] == 1)
            process.communicate("leave\n", timeout=60)
        assert process.returncode == 0
        with llmcore.load(config) as core:
            assert [row["state"] for row in core.usage.export()] == ["open"] * 10
            held.finish_batches()
            assert all(
                item.reply is not None for item in core.llm.resume_batch(run_id, PROMPTS, max_tokens=50)
            )
            assert held.counts["batches"] == 1
            check_books(core, held)


def test_a_finished_run_returns_its_items_again(core: Core, upstream: Simulator) -> None:
    run = core.llm.batch(PROMPTS, lane="queue")
    assert len(list(run)) == 10
    again = list(core.llm.resume_batch(run.id, PROMPTS).results())
    assert [get_text(item) for item in again] == [answer(text) for text in PROMPTS]
    assert upstream.counts["batch_items"] == 10


def test_a_queued_run_can_be_finished_now(provider: str) -> None:
    with Simulator(holds_batches=True) as held, llmcore.load(make_config(held, provider)) as core:
        run = core.llm.batch(PROMPTS, lane="queue", max_tokens=50)

        async def leave() -> None:
            task = asyncio.ensure_future(anext(aiter(run)))
            await asyncio.to_thread(held.wait_for, lambda: held.counts["status_200"] >= 3)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(leave())
        held.finish_batches(0.4)
        items = list(core.llm.resume_batch(run.id, lane="now").results())
        assert [get_text(item) for item in items] == [answer(text) for text in PROMPTS]
        live = held.counts["chat"] + held.counts["messages"]
        assert (held.counts["batches_cancelled"], held.counts["batch_items"], live) == (1, 4, 6)


def test_the_lane_auto_sends_the_tail_now(provider: str) -> None:
    with (
        Simulator(holds_batches=True, batch_window_s=3.0) as held,
        llmcore.load(make_config(held, provider)) as core,
    ):
        held.finish_batches(0.4)
        items = list(core.llm.batch(PROMPTS, lane="auto", max_tokens=50).results())
        assert [get_text(item) for item in items] == [answer(text) for text in PROMPTS]
        live = held.counts["chat"] + held.counts["messages"]
        assert (held.counts["batches"], held.counts["batch_items"], live) == (1, 4, 6)
        assert len([row for row in core.usage.export() if row["state"] == "done"]) == 10


def test_a_budget_divides_a_run_and_is_never_exceeded(upstream: Simulator) -> None:
    with llmcore.load(make_config(upstream)) as core:
        run = core.llm.batch(
            (f"q{number}" for number in range(300)), lane="queue", max_tokens=50, budget="0.0005 USD"
        )
        with pytest.raises(BudgetExceeded):
            list(run)
        assert Decimal("0.00048") < run.summary.cost <= Decimal("0.0005")
        assert upstream.counts["batches"] > 1
        check_books(core, upstream)
        rest = list(core.llm.resume_batch(run.id, budget="1 USD"))
        assert len(rest) == 300
        check_books(core, upstream)


def test_tokens_that_the_vendor_does_not_enqueue_wait() -> None:
    with Simulator(batch_tokens=500) as small, llmcore.load(make_config(small)) as core:
        items = list(core.llm.batch((f"q{number}" for number in range(40)), lane="queue"))
        assert all(item.reply is not None for item in items)
        check_books(core, small)


def test_models_have_their_own_batches(upstream: Simulator) -> None:
    with llmcore.load(make_config(upstream)) as core:
        items = [
            {"prompt": f"q{number}", "model": ("gpt-4o-mini", "gpt-4o")[number % 2]} for number in range(6)
        ]
        assert all(item.reply is not None for item in core.llm.batch(items, lane="queue"))
        assert upstream.counts["batches"] == 2


def test_a_refused_key_stops_the_run_and_releases_what_was_reserved(upstream: Simulator) -> None:
    upstream.fail(Fault.status(401), path="/files")
    with llmcore.load(make_config(upstream)) as core:
        run = core.llm.batch(PROMPTS, lane="queue")
        with pytest.raises(AuthenticationFailed):
            list(run)
        assert not list(core.usage.export())
        assert len(list(core.llm.resume_batch(run.id))) == 10
        check_books(core, upstream)


def test_the_lane_auto_sends_now_what_has_no_queue() -> None:
    with llmcore.load({"llm": {"provider": "echo"}}) as core:
        items = list(core.llm.batch(["a", "b"], lane="auto").results())
    assert [get_text(item) for item in items] == ["You said: a", "You said: b"]


def test_a_provider_without_a_queue_says_so() -> None:
    with (
        llmcore.load({"llm": {"provider": "echo"}}) as core,
        pytest.raises(PluginError, match="has no queue"),
    ):
        list(core.llm.batch(["a"], lane="queue"))


def test_a_refused_request_does_not_hide_one_that_was_billed_without_a_result(upstream: Simulator) -> None:
    with llmcore.load(make_config(upstream, "anthropic")) as core:
        upstream.fail(Fault.batch("bad_line"), path="/batches")
        items = ["Question 0", {"prompt": "Question 1", "temperature": 9}, "Question 2"]
        found = {item.index: item for item in core.llm.batch(items, lane="queue", max_tokens=50)}
        assert [found[index].error is None for index in range(3)] == [False, False, True]
        assert upstream.counts["batches"] == 1, "the billed request is not sent again"
        check_books(core, upstream, uncertain=1)
