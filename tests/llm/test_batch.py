"""Batches: each different request once, failures that stop nothing, and runs that are resumed after any end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import AuthenticationFailed, BadRequest, BudgetExceeded, LLMCoreError
from llmcore.llm.batch.adaptive_concurrency import ConcurrencyController
from llmcore_testing.simulator import Fault, Simulator


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def make_config(upstream: Simulator, **tables: Any) -> dict[str, Any]:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    return {
        "llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": openai},
        "cache": {"provider": "memory"},
        "retry": {"attempts": 1},
        **tables,
    }


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    with llmcore.load(make_config(upstream)) as core:
        yield core


def answer(text: str) -> str:
    return f"This is a simulated answer to: {text}"


def test_every_item_is_answered_and_equal_ones_are_sent_once(core: Core, upstream: Simulator) -> None:
    run = core.llm.batch(f"q{number % 7}" for number in range(50))
    found = {item.index: item.reply.text for item in run if item.reply}
    assert found == {number: answer(f"q{number % 7}") for number in range(50)}
    assert upstream.counts["requests"] == 7
    assert (run.summary.items, run.summary.done, run.summary.requests) == (50, 50, 7)
    assert run.summary.cost == core.usage.totals().cost


@pytest.mark.parametrize("cache", [False, "refresh"])
def test_equal_items_that_are_far_apart_are_sent_once_without_a_cache(
    core: Core, upstream: Simulator, cache: Any
) -> None:
    run = core.llm.batch((f"q{number % 40}" for number in range(120)), cache=cache, concurrency=2)
    found = {item.index: item.reply for item in run if item.reply}
    assert {index: reply.text for index, reply in found.items()} == {
        number: answer(f"q{number % 40}") for number in range(120)
    }
    assert upstream.counts["requests"] == run.summary.requests == 40
    assert {(reply.cached, reply.cost) for index, reply in found.items() if index >= 40} == {
        (True, Decimal(0))
    }
    assert run.summary.cost == core.usage.totals().cost


def test_results_come_in_the_order_of_the_input(core: Core) -> None:
    assert [item.index for item in core.llm.batch(map(str, range(100))).results()] == list(range(100))


def test_items_may_be_prompts_messages_dicts_and_lines_of_openai(core: Core, upstream: Simulator) -> None:
    messages = [{"role": "user", "content": "b"}]
    items = [
        "a",
        messages,
        {"prompt": "c", "id": "third", "temperature": 0.5},
        {"messages": messages, "seed": 3},
        {
            "custom_id": "fifth",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": messages, "seed": 4},
        },
    ]
    found = list(core.llm.batch(items, system="Be brief.", max_tokens=20).results())
    assert [item.error for item in found] == [None] * 5
    assert [item.id for item in found] == [None, None, "third", None, "fifth"]
    bodies = [request.body for request in upstream.requests]
    assert all(body["max_tokens"] == 20 for body in bodies)
    assert all(body["messages"][0] == {"role": "system", "content": "Be brief."} for body in bodies)
    assert Counter(body.get("temperature") for body in bodies) == {None: 4, 0.5: 1}


def test_a_bad_item_does_not_stop_the_run(core: Core, upstream: Simulator) -> None:
    items: list[Any] = [
        "good",
        5,
        "",
        [],
        {"messages": "no"},
        {"prompt": "x", "temperature": {1}},
        {"prompt": "y", "nan": float("nan")},
    ]
    found = {item.index: item for item in core.llm.batch([*items, "good too"])}
    assert {index for index, item in found.items() if item.reply} >= {0, 7}
    for index in (1, 2, 3, 5):
        assert isinstance(found[index].error, BadRequest), index
    upstream.fail(Fault.status(400, message="the server refuses it"), times=None)
    (refused,) = core.llm.batch(["refused"])
    assert refused.error is not None
    assert "the server refuses it" in refused.error.message


def test_items_in_the_cache_are_free(core: Core, upstream: Simulator) -> None:
    core.llm.chat("a")
    found = {item.index: item.reply for item in core.llm.batch(["a", "b"])}
    assert [found[0].cached, found[1].cached] == [True, False]  # type: ignore[union-attr]
    assert upstream.counts["requests"] == 2


def test_no_more_is_in_flight_than_allowed_and_no_more_is_read_than_needed(
    core: Core, upstream: Simulator
) -> None:
    read: list[int] = []

    def items() -> Iterator[str]:
        for number in range(10_000):
            read.append(number)
            yield str(number)

    iterator = iter(core.llm.batch(items(), concurrency=3))
    next(iterator)
    assert len(read) < 100
    iterator.close()  # type: ignore[attr-defined]
    assert upstream.max_in_flight <= 3


def test_a_spent_budget_stops_the_run_which_is_resumed_later(core: Core, upstream: Simulator) -> None:
    items = [f"question {number}" for number in range(200)]
    run = core.llm.batch(items, budget="0.001 USD", max_tokens=20)
    with pytest.raises(BudgetExceeded):
        list(run)
    spent = run.summary.cost
    assert Decimal("0.0005") < spent <= Decimal("0.001")
    first = upstream.counts["requests"]
    assert (
        len(
            [
                item
                for item in core.llm.resume_batch(run.id, items, budget="1 USD", max_tokens=20)
                if item.reply
            ]
        )
        == 200
    )
    assert upstream.counts["requests"] == 200, f"{first} of them were answered before"
    assert not [row for row in core.usage.open() if row["state"] == "open"]


def test_a_refused_key_stops_the_run(core: Core, upstream: Simulator) -> None:
    upstream.fail(Fault.status(401), times=None)
    with pytest.raises(AuthenticationFailed):
        list(core.llm.batch(map(str, range(100)), concurrency=4))
    assert upstream.counts["requests"] <= 4


def test_a_run_is_resumed_without_its_items_once_all_were_read(core: Core, upstream: Simulator) -> None:
    run = core.llm.batch(["a", "b", 5])
    list(run)
    again = sorted(core.llm.resume_batch(run.id), key=lambda item: item.index)
    assert [item.reply.text if item.reply else None for item in again] == [answer("a"), answer("b"), None]
    assert upstream.counts["requests"] == 2
    left = core.llm.batch(map(str, range(1000)))
    next(iter(left))
    with pytest.raises(BadRequest, match="had not read its input to the end"):
        list(core.llm.resume_batch(left.id))


def test_only_changed_items_are_sent_again(core: Core, upstream: Simulator) -> None:
    run = core.llm.batch(["a", "b", "c"], cache=False)
    list(run)
    changed = list(core.llm.resume_batch(run.id, ["a", "B", "c", "d"], cache=False).results())
    assert [item.reply.text for item in changed if item.reply] == [answer(text) for text in "aBcd"]
    assert upstream.counts["requests"] == 5


def test_another_model_answers_again_and_items_may_name_their_own(core: Core, upstream: Simulator) -> None:
    items: list[Any] = ["a", {"prompt": "a", "model": "openai:gpt-4.1-nano"}]
    run = core.llm.batch(items, model="openai:gpt-4o")
    list(run)
    assert {request.body["model"] for request in upstream.requests} == {"gpt-4o", "gpt-4.1-nano"}
    list(core.llm.resume_batch(run.id, items, model="openai:gpt-4o"))
    assert upstream.counts["requests"] == 2
    list(core.llm.resume_batch(run.id, items, model="openai:gpt-4.1-mini"))
    assert [request.body["model"] for request in upstream.requests[2:]] == ["gpt-4.1-mini"]


def test_an_async_run(core: Core) -> None:
    async def collect() -> list[int]:
        return [item.index async for item in core.llm.abatch(map(str, range(50))).aresults()]

    assert asyncio.run(collect()) == list(range(50))


def test_another_process_on_the_same_run_is_refused(core: Core) -> None:
    run = core.llm.batch(map(str, range(100)))
    iterator = iter(run)
    next(iterator)
    with pytest.raises(LLMCoreError, match="is in use by another process"):
        next(iter(core.llm.resume_batch(run.id, ["0"])))
    iterator.close()  # type: ignore[attr-defined]
    assert next(iter(core.llm.resume_batch(run.id, ["0"]))).reply


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"items": "text"}, "items must be an iterable"),
        ({"items": 5}, "items must be an iterable"),
        ({"items": [], "lane": "soon"}, "lane must be"),
        ({"items": [], "concurrency": 0}, "concurrency must be"),
        ({"items": [], "budget": "much"}, "budget must be"),
    ],
)
def test_wrong_arguments_are_refused(core: Core, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        core.llm.batch(**arguments)
    with pytest.raises(BadRequest, match="there is no run `nope`"):
        core.llm.resume_batch("nope")


def test_the_pace_grows_and_is_halved_once_for_refusals_of_one_moment() -> None:
    now = [0.0]
    controller = ConcurrencyController(clock=lambda: now[0])
    for _ in range(200):
        controller.grow()
    assert controller.limit == 108
    controller.cut()
    controller.cut()
    assert controller.limit == 54
    for _ in range(100):
        controller.grow()
    assert 100 < controller.limit < 102.1, "quick growth to just below what the server accepted"
    for _ in range(8 * 104):
        controller.grow()
    assert 101 < controller.limit < 106, "then about one more in eight rounds"
    for _ in range(40 * 104):
        controller.grow()
    assert controller.limit > 150, "and faster if the server does not refuse"
    now[0] = 2.0
    before = controller.limit
    for _ in range(int(before * 0.7)):
        controller.cut()
    assert controller.limit < before * 0.3, "each refusal of a burst was one too many"
    fixed = ConcurrencyController(5)
    fixed.grow()
    fixed.cut()
    assert fixed.limit == 5


def test_refused_requests_lower_the_pace_and_are_answered_in_the_end(upstream: Simulator) -> None:
    with llmcore.load(make_config(upstream, retry={"attempts": 5})) as core:
        upstream.fail(Fault.status(429, retry_after=0.01), times=5)
        found = list(core.llm.batch(map(str, range(60))))
    assert len([item for item in found if item.reply]) == 60


PROGRAM = """
import json, sys, llmcore
config = json.loads(sys.argv[1])
with llmcore.load(config) as core:
    run = core.llm.batch(map(str, range(300)), concurrency=8) if not sys.argv[2] else core.llm.resume_batch(
        sys.argv[2], map(str, range(300)), concurrency=8)
    print(run.id, flush=True)
    for item in run:
        print(item.index, flush=True)
"""


@pytest.mark.slow
def test_a_killed_run_sends_again_only_what_was_in_flight(upstream: Simulator) -> None:
    import json

    config = json.dumps(make_config(upstream, cache={"provider": "memory"}))
    run_id, kills = "", 0
    for limit in (20, 50, 90, 1000):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, config, run_id], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        seen = set()
        for line in process.stdout:
            seen.add(line)
            if len(seen) >= limit:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
        process.stdout.close()
        process.wait()
    assert kills == 3
    assert len(seen) == 300, "the last part yields every item"
    assert upstream.counts["requests"] <= 300 + 8 * kills
