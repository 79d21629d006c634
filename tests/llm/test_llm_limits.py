"""Rate limits of chats: a waiting call is not sent, and a refused call books nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import RateLimited
from llmcore_testing import Simulator
from tests.kits.money import ASK, make_config


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def load_limited(upstream: Simulator, folder: Path, **limits: Any) -> llmcore.Core:
    return llmcore.load(
        {
            "llm": {
                "provider": "openai",
                "model": "gpt-5.6-luna",
                "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
            },
            "cache": {"provider": "memory"},
            "limits": limits,
            "ledger": {"path": str(folder / "ledger.sqlite3")},
        }
    )


def test_no_more_calls_at_once_than_the_limit_says_in_threads(upstream: Simulator, tmp_path: Path) -> None:
    with load_limited(upstream, tmp_path, concurrency=2) as core, ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda n: core.llm.chat(f"{n}", cache=False), range(20)))
    assert len(replies) == upstream.counts["chat"] == 20
    assert upstream.max_in_flight <= 2


def test_no_more_calls_at_once_than_the_limit_says_in_tasks(upstream: Simulator, tmp_path: Path) -> None:
    async def main() -> int:
        async with load_limited(upstream, tmp_path, concurrency=3) as core:
            return len(await asyncio.gather(*(core.llm.achat(f"{n}", cache=False) for n in range(20))))

    assert asyncio.run(main()) == upstream.counts["chat"] == 20
    assert upstream.max_in_flight <= 3


def test_a_turn_beyond_the_deadline_is_refused_unsent_and_costs_nothing(
    scripted: Any, tmp_path: Path
) -> None:
    core = llmcore.load({**make_config(tmp_path), "limits": {"requests_per_minute": 1}})
    core.llm.chat("one", **ASK)
    before = len(scripted.requests)
    with pytest.raises(RateLimited) as caught:
        core.llm.chat("two", timeout=20, **ASK)
    assert caught.value.retry_after is not None
    assert 20 < caught.value.retry_after <= 60
    assert len(scripted.requests) == before
    assert [(row["state"], row["cost"]) for row in core.usage.export()] == [
        ("done", "0.0125"),
        ("failed", "0"),
    ]
    assert core.usage.budgets()[0].reserved == 0


def test_a_limit_of_one_model_does_not_affect_others(scripted: Any, tmp_path: Path) -> None:
    del scripted
    core = llmcore.load(
        {
            **make_config(tmp_path, unknown_price="allow"),
            "limits": {"scripted:default": {"requests_per_minute": 1}},
        }
    )
    core.llm.chat("one", **ASK)
    for n in range(3):
        core.llm.chat(f"{n}", model="scripted:other", timeout=20, **ASK)
    with pytest.raises(RateLimited):
        core.llm.chat("two", timeout=20, **ASK)


def test_a_cached_answer_waits_for_no_limit(scripted: Any, tmp_path: Path) -> None:
    del scripted
    core = llmcore.load({**make_config(tmp_path), "limits": {"requests_per_minute": 1}})
    core.llm.chat("one", max_tokens=4)
    assert all(core.llm.chat("one", max_tokens=4, timeout=20).cached for _ in range(10))
