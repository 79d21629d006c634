"""The amount that the server billed is the cost of a call: preferred to every price, in budgets and in the ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.builtin.sqlite_ledger.schema import MIGRATIONS
from llmcore.errors import BudgetExceeded
from llmcore.types import Reply, Usage
from llmcore_testing.simulator import Simulator
from tests.kits.money import ASK, EACH, make_config

BILL = Decimal("0.00042")
USAGE = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}
GPT_4O = (8 * Decimal("2.5") + 3 * 10) / 1_000_000


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def load_core(upstream: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    cores: list[llmcore.Core] = []

    def load(**tables: Any) -> llmcore.Core:
        model = {"provider": "openai", "model": "gpt-4o", "openai": {"base_url": upstream.base_url}}
        settings: dict[str, Any] = {
            "llm": model,
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        }
        cores.append(llmcore.load(settings | tables))
        return cores[-1]

    yield load
    for core in cores:
        core.close()


def make_completion(model: str, **usage: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hi"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"choices": choices, "model": model, "usage": USAGE | usage}


def ask(core: llmcore.Core, way: str, question: str = "q", **more: Any) -> Any:
    async def drain() -> None:
        async for _ in core.llm.astream(question, **more):
            pass

    match way:
        case "chat":
            return core.llm.chat(question, **more)
        case "achat":
            return asyncio.run(core.llm.achat(question, **more))
        case "stream":
            assert list(core.llm.stream(question, **more))
        case _:
            asyncio.run(drain())
    return core.llm.chat(question, **more)  # the reply of the stream, from the cache


@pytest.mark.parametrize("way", ["chat", "achat", "stream", "astream"])
@pytest.mark.parametrize("model", ["acme/unknown-9", "gpt-4o-2024-08-06"])
@pytest.mark.parametrize("prices", [{}, {"openai:gpt-4o": {"input": 1000, "output": 1000}}])
def test_a_bill_is_preferred_to_every_price(
    load_core: Any, upstream: Simulator, way: str, model: str, prices: Any
) -> None:
    upstream.replies(make_completion(model, cost=0.00042))
    core = load_core(prices=prices)
    reply = ask(core, way)
    assert (reply.saved if reply.cached else reply.cost, reply.cost_source) == (BILL, "server")
    (row,) = [row for row in core.usage.export() if row["state"] == "done"]
    assert (row["cost"], row["cost_source"]) == ("0.00042", "server")
    (total,) = core.usage.by("total")
    assert (total.cost, total.unpriced) == (BILL, 0)


@pytest.mark.parametrize(
    ("prices", "model", "expected"),
    [
        ({}, "gpt-4o-2024-08-06", (GPT_4O, "provider")),
        ({}, "acme/unknown-9", (None, None)),
        ({"openai:gpt-4o": {"input": 1000, "output": 1000}}, "acme/unknown-9", (Decimal("0.011"), "config")),
    ],
)
def test_without_a_bill_the_reply_names_the_source_of_its_price(
    load_core: Any, upstream: Simulator, prices: Any, model: str, expected: tuple[Decimal | None, str | None]
) -> None:
    upstream.replies(make_completion(model))
    core = load_core(prices=prices)
    reply = core.llm.chat("q")
    assert (reply.cost, reply.cost_source) == expected
    (row,) = core.usage.export()
    assert row["cost_source"] == expected[1]


def test_a_cached_reply_names_the_source_of_the_saved_cost(load_core: Any, upstream: Simulator) -> None:
    upstream.replies(make_completion("acme/unknown-9", cost=0.00042))
    core = load_core(cache={"provider": "file"})
    core.llm.chat("q")
    cached = core.llm.chat("q")
    assert (cached.cached, cached.cost, cached.saved, cached.cost_source) == (True, 0, BILL, "server")


def test_a_budget_counts_the_bill_of_a_model_without_a_price(load_core: Any, upstream: Simulator) -> None:
    upstream.replies(*[make_completion("acme/unknown-9", cost=0.4)] * 3)
    core = load_core(budget={"limit": "1.00 USD", "unknown_price": "allow"})
    for number in range(3):
        core.llm.chat(f"q{number}", model="acme/unknown-9", max_tokens=10)
    (state,) = core.usage.budgets()
    assert (state.spent, state.reserved) == (Decimal("1.2"), 0)
    with pytest.raises(BudgetExceeded):
        core.llm.chat("one more", model="acme/unknown-9", max_tokens=10)
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("cost", [BILL, Decimal(0)])
def test_a_provider_may_report_a_bill_without_tokens(scripted: Any, tmp_path: Path, cost: Decimal) -> None:
    scripted.script[:] = [Reply("hi", usage=Usage(cost=cost))]
    core = llmcore.load(make_config(tmp_path) | {"observers": {"use": ["listener"]}})
    reply = core.llm.chat("q", **ASK)
    assert (reply.cost, reply.cost_source, reply.usage.estimated) == (cost, "server", True)
    assert core.usage.by("total")[0].cost == cost
    (event,) = scripted.events
    assert (event.cost, event.cost_source) == (cost, "server")
    core.close()


@pytest.mark.parametrize("cost", [Decimal("NaN"), Decimal("Infinity"), Decimal(-1), 0.5])
def test_an_impossible_bill_is_ignored(scripted: Any, tmp_path: Path, cost: Any) -> None:
    scripted.script[:] = [Reply("hi", usage=Usage(input_tokens=10, output_tokens=4, cost=cost))]
    core = llmcore.load(make_config(tmp_path))
    reply = core.llm.chat("q", **ASK)
    assert (reply.cost, reply.cost_source) == (EACH, "config")
    core.close()


def test_a_ledger_of_the_previous_version_is_migrated(
    load_core: Any, upstream: Simulator, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as db:
        db.executescript(MIGRATIONS[0])
        db.execute("PRAGMA user_version = 1")
        db.execute(
            "INSERT INTO calls (id, at, call, attempt, state, kind, provider, model, cost)"
            " VALUES (1, 1.0, 'c', 1, 'done', 'llm', 'openai', 'gpt-4o', 1000)"
        )
    db.close()
    upstream.replies(make_completion("acme/unknown-9", cost=0.00042))
    core = load_core()
    core.llm.chat("q")
    rows = [(row["cost"], row["cost_source"]) for row in core.usage.export()]
    assert rows == [("0.000001", None), ("0.00042", "server")]
