"""A batch whose creation the vendor did not confirm is found, not paid twice; and no queue is polled often for long."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

import llmcore
from llmcore.llm.batch import queue_chunks
from llmcore_testing.simulator import Fault, Simulator

MODELS = {"openai": "openai:gpt-4o-mini", "anthropic": "anthropic:claude-sonnet-4-5"}
PROMPTS = [f"Question {number}" for number in range(10)]


def make_config(upstream: Simulator, provider: str) -> dict[str, Any]:
    url = upstream.base_url if provider == "openai" else upstream.url
    account = {"base_url": url, "api_key": "sk-test"}
    return {"llm": {"provider": provider, "model": MODELS[provider], provider: account}}


@pytest.mark.slow
@pytest.mark.parametrize("provider", MODELS)
def test_a_batch_that_is_listed_late_is_found_after_an_answer_that_is_not_the_vendors(provider: str) -> None:
    """A proxy answers 524 while the vendor still works, and a reply may be cut on its way."""
    answers = [Fault.status(524), Fault.bad_json(), Fault.cut_stream()]

    async def run(number: int, then: Fault) -> None:
        with Simulator() as upstream:
            upstream.fail(Fault.batch("listed_late", then=then), path="/batches")
            config = {**make_config(upstream, provider), "ledger": {"path": f"{number}.sqlite3"}}
            async with llmcore.load(config) as core:
                items = [item async for item in core.llm.batch(PROMPTS, lane="queue", max_tokens=50)]
                assert [item.error for item in items] == [None] * 10
                assert (upstream.counts["batches"], upstream.counts["batch_items"]) == (1, 10), then
                assert [row["state"] for row in core.usage.export()] == ["done"] * 10, then

    async def run_all() -> None:
        await asyncio.gather(*(run(number, then) for number, then in enumerate(answers)))

    asyncio.run(run_all())


class Clock:
    """A clock that the pauses of the main thread advance. They take no time, and *on_pause* is called after each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._sleep = asyncio.sleep
        self.on_pause: Any = None
        began = time.time()
        times = SimpleNamespace(
            monotonic=lambda: self.now,
            time=lambda: began + self.now,
            strftime=time.strftime,
            localtime=time.localtime,
        )
        monkeypatch.setattr(queue_chunks, "time", times)
        monkeypatch.setattr(asyncio, "sleep", self._pause)

    async def _pause(self, seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():  # the simulator's thread
            await self._sleep(seconds)
            return
        self.now += seconds
        await self._sleep(0)
        if seconds:
            self.on_pause()


@pytest.mark.parametrize(
    ("provider", "lane", "fault"),
    [
        ("openai", "queue", None),
        (
            "anthropic",
            "queue",
            Fault.batch("lost"),
        ),  # without metadata, only the results tell which batch is the run's
        ("anthropic", "auto", Fault.batch("lost")),
    ],
)
def test_a_batch_that_takes_a_day_is_polled_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, provider: str, lane: Any, fault: Fault | None
) -> None:
    clock, polls, ends = Clock(monkeypatch), 0, 24.5 * 3600

    with Simulator(holds_batches=True) as upstream:

        def count() -> None:
            nonlocal polls
            polls += 1
            if 600 < clock.now < 23 * 3600 - 600:
                clock.now = 23 * 3600 - 600.0  # the day passes
            if clock.now > ends:
                upstream.finish_batches()
            assert polls < 200, f"{polls} polls in {clock.now:.0f} s"

        clock.on_pause = count
        if fault is not None:
            upstream.fail(fault, path="/batches")

        async def run() -> None:
            async with llmcore.load(make_config(upstream, provider)) as core:
                items = [item async for item in core.llm.batch(PROMPTS, lane=lane, max_tokens=50)]
                assert [item.error for item in items] == [None] * 10

        asyncio.run(run())
        assert (upstream.counts["batches"], upstream.counts["batch_items"]) == (1, 10)
        assert clock.now > ends
        assert polls > 100, "a pause is a minute at most"
