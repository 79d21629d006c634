"""The estimate of a batch: it sends and writes nothing, and what the run then costs lies inside it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import BadRequest, BudgetExceeded
from llmcore.types import Usage
from llmcore_testing.simulator import Simulator


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def make_config(upstream: Simulator, **tables: Any) -> dict[str, Any]:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    return {
        "llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": openai},
        "cache": {"provider": "memory"},
        **tables,
    }


@pytest.fixture
def core(upstream: Simulator) -> Iterator[Core]:
    with llmcore.load(make_config(upstream)) as core:
        yield core


def test_what_would_be_sent_is_counted_and_nothing_is_sent(core: Core, upstream: Simulator) -> None:
    core.llm.chat("q0", max_tokens=20)
    items: list[Any] = [f"q{number % 10}" for number in range(30)]
    run = core.llm.batch([*items, 5, {"prompt": "x", "temperature": "hot"}], max_tokens=20)
    found = run.estimate()
    assert (found.items, found.malformed, found.cached) == (32, 1, 1)
    assert found.duplicates == 20
    assert found.requests == 10, "nine prompts, and one that only the server can refuse"
    assert found.exact_share == 1.0
    assert (found.output_least, found.output_most) == (10, 200)
    assert upstream.counts["requests"] == 1
    assert not run.path.exists()


def test_the_cost_lies_inside_the_estimate(core: Core) -> None:
    items = [f"question number {number}" * (number % 9 + 1) for number in range(60)]
    found = core.llm.batch(items, max_tokens=40).estimate()
    counts = [core.llm.count_tokens([{"role": "user", "content": item}]) for item in items]
    assert found.input_tokens == sum(counts)
    outputs = {item.index: item.reply.usage.output_tokens for item in core.llm.batch(items) if item.reply}
    usages = [Usage(input_tokens=count, output_tokens=outputs[i]) for i, count in enumerate(counts)]
    prices = [core.llm.price(usage) for usage in usages]
    assert found.cost_least is not None
    assert found.cost_likely is not None
    assert found.cost_most is not None
    assert found.cost_least <= sum(price for price in prices if price) <= found.cost_most
    assert found.cost_least < found.cost_likely <= found.cost_most


def test_likely_answers_are_as_long_as_the_last_ones_of_the_ledger(core: Core) -> None:
    items = ["one two three", "four five six"]
    before = core.llm.batch(items, max_tokens=900).estimate()
    assert before.output_likely == 2 * 256
    replies = [item.reply for item in core.llm.batch(items, max_tokens=900) if item.reply]
    after = core.llm.batch([item + "!" for item in items], max_tokens=900).estimate()
    assert after.output_likely == sum(reply.usage.output_tokens for reply in replies)


@pytest.mark.slow
def test_budgets_and_limits_are_reported(upstream: Simulator) -> None:
    limits = {
        "openai": {"requests_per_minute": 120},
        "openai:gpt-4o-mini": {"tokens_per_minute": 100_000_000},
    }
    config = make_config(upstream, limits=limits, budget={"limit": "2 USD", "per": "month"})
    with llmcore.load(config) as core:
        items = [f"question {number}" for number in range(100)]
        found = core.llm.batch(items, max_tokens=256, budget="0.001 USD").estimate()
        assert found.seconds == 50.0
        rooms = {room.name.split()[0]: room for room in found.budgets}
        assert rooms["month"].left == 2
        assert rooms["month"].requests == rooms["month"].of == 100
        assert rooms["total"].left == Decimal("0.001")
        assert 0 < rooms["total"].requests < 20
        run = core.llm.batch(items, max_tokens=256, budget="0.001 USD")
        with pytest.raises(BudgetExceeded):
            list(run)
        again = core.llm.resume_batch(run.id, items, max_tokens=256, budget="0.001 USD").estimate()
        assert again.answered == run.summary.done
        left = {room.name.split()[0]: room.left for room in again.budgets}
        assert left["month"] == 2 - run.summary.cost
        assert left["total"] == Decimal("0.001") - run.summary.cost


def test_an_unknown_price_is_reported(upstream: Simulator) -> None:
    with llmcore.load(make_config(upstream)) as core:
        found = core.llm.batch(["a"], model="openai:own-model").estimate()
    assert found.unpriced == ("openai:own-model",)
    assert (found.cost_least, found.cost_likely, found.cost_most) == (None, None, None)
    with llmcore.load(make_config(upstream, prices={"openai:own-model": 0})) as core:
        assert core.llm.batch(["a"], model="openai:own-model").estimate().cost_most == 0


def test_an_async_estimate_and_items_that_can_be_read_once(core: Core) -> None:
    assert asyncio.run(core.llm.batch(["a", "b"]).aestimate()).requests == 2
    with pytest.raises(BadRequest, match="items can be read only once"):
        core.llm.batch(iter(["a"])).estimate()


def test_without_a_ledger_nothing_is_created(upstream: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "own.sqlite3"
    config = make_config(upstream, ledger={"path": str(path)}, budget={"limit": "1 USD"})
    with llmcore.load(config) as core:
        found = core.llm.batch(["a"], max_tokens=5).estimate()
        assert found.budgets[0].left == 1
        assert not path.exists()
