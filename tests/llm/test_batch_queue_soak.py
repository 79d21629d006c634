"""Random faults of a vendor's queue, and runs that are left at random moments: each answer is returned and booked once.

LLMCORE_BATCH_ROUNDS=200 makes it long.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import LLMCoreError
from llmcore.llm.batch import queue_chunks
from llmcore.llm.batch.items import BatchItem
from llmcore_testing.simulator import Fault, Simulator
from llmcore_testing.simulator.faults import BATCH_FAULTS

ROUNDS = int(os.environ.get("LLMCORE_BATCH_ROUNDS", "4"))
MODELS = {"openai": "openai:gpt-4o-mini", "anthropic": "anthropic:claude-sonnet-4-5"}


def choose_fault(chance: random.Random) -> Fault:
    if chance.random() < 0.2:
        return Fault.status(chance.choice([429, 500]), retry_after=0)
    return Fault.batch(chance.choice(BATCH_FAULTS))


async def run_once(
    config: dict[str, Any], items: Sequence[str], lane: Any, chance: random.Random
) -> list[BatchItem]:
    """Run *items*, leave a few times, and return the items of the last part."""
    run_id: str | None = None
    leaves = chance.randint(0, 3)
    found: list[BatchItem] = []
    for part in range(leaves + 8):
        found = []
        async with llmcore.load(config) as core:
            if run_id is None:
                run = core.llm.batch(items, lane=lane, max_tokens=30)
            else:
                run = core.llm.resume_batch(run_id, items, max_tokens=30)
            run_id = run.id

            async def consume(run: Any = run, found: list[BatchItem] = found) -> None:
                async for item in run.aresults():
                    found.append(item)  # noqa: PERF401 - what has come before a cancellation stays

            task = asyncio.ensure_future(consume())
            if part < leaves:
                await asyncio.wait([task], timeout=chance.random() * 0.5)
                task.cancel()
                await asyncio.wait([task])
                continue
            try:
                await task
            except LLMCoreError:  # the vendor failed; the run can be resumed
                continue
            if all(item.reply for item in found):
                break
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_each_answer_is_returned_and_booked_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        queue_chunks, "_CONFIRM_S", 6.0
    )  # the simulator lists every batch within three seconds
    chance = random.Random(seed)  # noqa: S311 - no secrets
    provider, lane = ("openai", "anthropic")[seed % 2], chance.choice(["queue", "queue", "auto"])
    with Simulator() as upstream:
        url = upstream.base_url if provider == "openai" else upstream.url
        config = {
            "llm": {
                "provider": provider,
                "model": MODELS[provider],
                provider: {"base_url": url, "api_key": "sk"},
            },
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        }
        for _ in range(chance.randint(0, 4)):
            upstream.fail(choose_fault(chance), path="/batches")
        items = [f"q{chance.randrange(20)}" for _ in range(chance.randint(1, 25))]
        found = asyncio.run(run_once(config, items, lane, chance))
        assert [item.index for item in found] == list(range(len(items)))
        with llmcore.load(config) as core:
            rows = [row for row in core.usage.export() if row["state"] != "hit"]
        counts = upstream.counts
        assert not [row for row in rows if row["state"] == "open"]
        booked = sum(row["state"] == "done" or bool(row["uncertain"]) for row in rows)
        assert booked == counts["batch_items"] + counts["chat"] + counts["messages"]
