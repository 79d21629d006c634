"""The lane `queue` while the ledger is locked, and vendors that refuse batches; rows that a working ledger refuses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.llm.batch.items import Prepared, prepare
from llmcore.llm.batch.run_plan import RunPlan
from llmcore_testing.simulator import Simulator

PROMPTS = [f"Question {number}" for number in range(3)]

HOLD = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(60_000)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold the write lock of the ledger in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.stdin.close()


def make_config(upstream: Simulator, ledger: Path, **tables: Any) -> dict[str, Any]:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    return {
        "llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": openai},
        "ledger": {"path": str(ledger)},
        "cache": {"provider": "memory"},
        **tables,
    }


def read_rows(config: dict[str, Any]) -> list[dict[str, Any]]:
    with llmcore.load(config) as core:
        return [row for row in core.usage.export() if row["state"] != "hit"]


@pytest.mark.process
def test_requests_reserved_while_the_ledger_is_locked_are_booked_once(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    with Simulator(holds_batches=True) as held:
        config = make_config(held, ledger)
        with llmcore.load(config) as core:
            core.llm.chat("before")
            run = core.llm.batch(PROMPTS, lane="queue", max_tokens=30)

            async def collect() -> list[Any]:
                return [item async for item in run]

            async def run_while_locked() -> list[Any]:
                with hold_lock(ledger):
                    task = asyncio.ensure_future(collect())
                    assert await asyncio.to_thread(held.wait_for, lambda: held.counts["batches"] == 1)
                held.finish_batches()
                return await task

            assert all(item.reply for item in asyncio.run(run_while_locked()))
            core.llm.chat("after")  # hands in what was booked next to the ledger
        rows = read_rows(config)
        assert [row["state"] for row in rows] == ["done"] * 5
        assert sum(row["tier"] == "batch" for row in rows) == held.counts["batch_items"] == 3


@pytest.mark.process
def test_answers_of_a_run_that_was_killed_while_the_ledger_was_locked_are_booked_once(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    with Simulator(holds_batches=True) as held:
        config = make_config(held, ledger, cache={"provider": "memory"})
        with llmcore.load(config) as core:
            core.llm.chat("before")
        program = f"""
import llmcore
run = llmcore.load({config!r}).llm.batch({PROMPTS!r}, lane="queue", max_tokens=30)
print(run.id, flush=True)
list(run)
"""
        with (
            hold_lock(ledger),
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process,
        ):
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            assert held.wait_for(lambda: held.counts["batches"] == 1)
            process.kill()
        held.finish_batches()
        assert [row["tier"] for row in read_rows(config)] == ["default"], "the batch has no row yet"
        for _ in range(2):
            with llmcore.load(config) as core:
                items = list(core.llm.resume_batch(run_id, PROMPTS, max_tokens=30))
            assert [item.error for item in items] == [None] * 3
            rows = [row for row in read_rows(config) if row["tier"] == "batch"]
            assert [row["state"] for row in rows] == ["done"] * 3
            assert sum(Decimal(row["cost"]) for row in rows) == sum(
                item.reply.cost for item in items if item.reply is not None and item.reply.cost is not None
            )
            assert (held.counts["batches"], held.counts["batch_items"]) == (1, 3), "nothing is paid twice"


@pytest.mark.slow
def test_the_pause_grows_with_each_batch_that_the_vendor_refuses_after_its_creation(tmp_path: Path) -> None:
    with Simulator(batch_tokens=1) as small, llmcore.load(make_config(small, tmp_path / "ledger")) as core:
        created: list[float] = []

        async def create_three() -> None:
            has_three = asyncio.Event()
            loop = asyncio.get_running_loop()

            def note(text: str) -> None:
                if "are in the queue" in text:
                    created.append(time.monotonic())
                    if len(created) == 3:
                        loop.call_soon(has_three.set)

            def read() -> Iterator[Prepared]:
                return iter([prepare(0, "Question", {}, None)])

            run = core.llm.open_run(
                RunPlan(path=tmp_path / "run.sqlite3", read=read, lane="queue", report=note)
            )
            task = asyncio.ensure_future(anext(aiter(run)))
            await has_three.wait()
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(create_three())
    first, second, third = created
    assert second - first >= 1.0
    assert third - second >= 2.0, "the pause was not longer after the second refusal"


@pytest.mark.process
def test_rows_that_a_working_ledger_refuses_fail_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    with Simulator() as upstream:
        config = make_config(upstream, ledger)
        with llmcore.load(config) as core:
            core.llm.chat("before")
            with hold_lock(ledger):
                core.llm.chat("during")  # its row waits in a file next to the ledger
        db = apsw.Connection(str(ledger))
        db.set_busy_timeout(60_000)
        db.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON calls WHEN NEW.state = 'done'"
            " BEGIN SELECT RAISE(ABORT, 'no such rows, please'); END"
        )
        strict = {**config, "budget": {"limit": "1 USD", "per": "day"}}
        with caplog.at_level("WARNING", "llmcore"), llmcore.load(strict) as core:
            assert core.llm.chat("after").text
        assert "were not imported into the ledger" in caplog.text
        assert "no such rows, please" in caplog.text
        assert len(read_rows(config)) == 2
        db.execute("DROP TRIGGER refuse")
        db.close()
        assert len(read_rows(config)) == 3, "the waiting row is handed in when the ledger takes it"
