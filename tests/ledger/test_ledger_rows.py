"""Each request to a backend is a row of the ledger, however it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BudgetError, IncompleteReply, LedgerError, RateLimited, Timeout, Unavailable
from llmcore.types import Delta, Reply, Usage
from tests.kits.money import ASK, EACH, make_config, sum_ledger


@pytest.fixture
def core(scripted: Any, tmp_path: Path) -> llmcore.Core:
    del scripted
    return llmcore.load(make_config(tmp_path, limit=100))


def list_rows(core: llmcore.Core) -> list[dict[str, Any]]:
    return list(core.usage.export())


def test_an_answered_request_is_a_row_with_all_known_columns(core: llmcore.Core) -> None:
    core.llm.chat("one", user="ann", tags=["x", "y"], **ASK)
    (row,) = list_rows(core)
    expected = {
        "state": "done", "kind": "llm", "provider": "scripted", "model": "default", "attempt": 1, "cost": "0.0125",
        "reserved": "0.0125", "input_tokens": 10, "output_tokens": 4, "user": "ann", "tags": ["x", "y"], "error": None,
        "uncertain": 0, "estimated": 0, "owner": None,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["latency_ms"] > 0


def test_each_attempt_is_a_row_of_the_same_call(core: llmcore.Core, scripted: Any) -> None:
    scripted.script[:] = [
        RateLimited("slow down", status=429, retry_after=0),
        Unavailable("broken", status=503, retry_after=0),
    ]
    core.llm.chat("one", **ASK)
    attempts = [(row["attempt"], row["state"], row["error"], row["cost"]) for row in list_rows(core)]
    assert attempts == [
        (1, "failed", "LC402 RateLimited", "0"),
        (2, "failed", "LC401 Unavailable", "0"),
        (3, "done", None, "0.0125"),
    ]
    assert len({row["call"] for row in list_rows(core)}) == 1


def test_a_fallback_shares_the_id_of_its_call(scripted: Any, tmp_path: Path) -> None:
    core = llmcore.load(
        {
            **make_config(tmp_path, limit=100),
            "models": {"safe": ["scripted:a", "scripted:default"]},
            "budget": {"limit": 100, "unknown_price": "allow"},
        }
    )
    scripted.script[:] = [Unavailable("broken", status=500, retry_after=3600)]
    core.llm.chat("one", model="safe", **ASK)
    attempts = [(row["model"], row["state"]) for row in list_rows(core)]
    assert attempts == [("a", "failed"), ("default", "done")]
    assert len({row["call"] for row in list_rows(core)}) == 1


@pytest.mark.parametrize(
    "error",
    [Timeout("late"), IncompleteReply("cut"), Unavailable("reset in the middle"), RuntimeError("a bug")],
)
def test_a_request_with_an_unknown_outcome_is_booked_at_its_maximum_cost(
    core: llmcore.Core, scripted: Any, error: Exception
) -> None:
    scripted.script[:] = [error] * 4
    with pytest.raises(llmcore.LLMCoreError):
        core.llm.chat("one", timeout=60, **ASK)
    (row, *_) = list_rows(core)
    assert (row["state"], row["cost"], row["uncertain"]) == ("failed", "0.0125", 1)
    assert core.usage.budgets()[0].spent >= EACH
    assert core.usage.totals().uncertain >= EACH


def test_a_request_that_was_never_sent_costs_nothing(core: llmcore.Core, scripted: Any) -> None:
    scripted.script[:] = [Unavailable("refused", sent=False, retry_after=3600)]
    with pytest.raises(Unavailable):
        core.llm.chat("one", **ASK)
    assert [(row["cost"], row["uncertain"]) for row in list_rows(core)] == [("0", 0)]


def test_a_hundred_cancelled_calls_are_all_booked(scripted: Any, tmp_path: Path) -> None:
    """All requests were sent, so the backend may bill them."""
    core = llmcore.load(make_config(tmp_path, limit=2))
    begun: list[Any] = []
    all_begun = asyncio.Event()

    class Slow(scripted.Scripted):  # type: ignore[misc]  # a module made for the test
        async def acomplete(self, request: Any) -> Reply:
            begun.append(request)
            if len(begun) == 100:
                all_begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    backend = core.backend("llm", "scripted")
    backend._provider = Slow(backend.options)

    async def main() -> None:
        tasks = [asyncio.create_task(core.llm.achat(f"{n}", **ASK)) for n in range(100)]
        await all_begun.wait()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)

    asyncio.run(main())
    booked = list_rows(core)
    assert len(booked) == 100
    assert {(row["state"], row["cost"], row["uncertain"], row["error"]) for row in booked} == {
        ("failed", "0.0125", 1, "cancelled")
    }
    (state,) = core.usage.budgets()
    assert (state.spent, state.reserved) == (100 * EACH, Decimal(0))


def test_a_hundred_abandoned_streams_are_all_booked(scripted: Any, tmp_path: Path) -> None:
    core = llmcore.load(make_config(tmp_path, limit=2))
    scripted.script[:] = [
        [Delta(text="one "), Delta(text="two "), Delta(finish_reason="stop", usage=Usage(output_tokens=2))]
        for _ in range(100)
    ]

    async def abandon(n: int) -> None:
        async for _ in core.llm.astream(f"{n}", **ASK):
            raise RuntimeError

    async def main() -> None:
        ended = await asyncio.gather(*(abandon(n) for n in range(100)), return_exceptions=True)
        assert all(isinstance(each, RuntimeError) for each in ended)

    asyncio.run(main())
    assert {(row["cost"], row["uncertain"]) for row in list_rows(core)} == {("0.0125", 1)}
    (state,) = core.usage.budgets()
    assert (state.spent, state.reserved) == (100 * EACH, Decimal(0))


def test_calls_cancelled_while_reserving_leave_no_reservation(core: llmcore.Core) -> None:
    async def main() -> None:
        core.llm.chat("warm", **ASK)
        for rounds in range(20):
            tasks = [asyncio.create_task(core.llm.achat(f"{n}", **ASK)) for n in range(20)]
            for _ in range(rounds % 5):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert [row for row in list_rows(core) if row["state"] == "open"] == []
    assert core.usage.budgets()[0].reserved == 0


def test_an_abandoned_stream_is_booked_at_its_maximum_cost(core: llmcore.Core, scripted: Any) -> None:
    scripted.script[:] = [
        [Delta(text="one "), Delta(text="two "), Delta(finish_reason="stop", usage=Usage(output_tokens=2))]
    ]
    stream = core.llm.stream("one", **ASK)
    next(stream)
    stream.close()
    (row,) = list_rows(core)
    assert (row["state"], row["cost"], row["uncertain"]) == ("failed", "0.0125", 1)


def test_an_answer_without_usage_is_counted_locally_and_marked_as_estimated(
    core: llmcore.Core, scripted: Any
) -> None:
    scripted.script[:] = [Reply(text="four words of text", model="default")]
    reply = core.llm.chat("one", **ASK)
    assert reply.usage.estimated
    assert reply.usage.output_tokens == len("four words of text")
    assert list_rows(core)[0]["estimated"] == 1


def test_a_hundred_thousand_rows_of_a_ten_millionth_sum_exactly(scripted: Any, tmp_path: Path) -> None:
    del scripted
    prices = {"scripted:default": {"input": 0, "output": "0.025"}}
    core = llmcore.load({**make_config(tmp_path), "prices": prices})
    core.llm.chat("one", **ASK)
    assert list_rows(core)[0]["cost"] == "0.0000001"
    copies = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)"
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as db:  # any SQLite tool can read and write it
        names = [row[1] for row in db.execute("PRAGMA table_info(calls)") if row[1] != "id"]
        listed = ", ".join(names)
        db.execute(f"{copies} INSERT INTO calls ({listed}) SELECT {listed} FROM calls, n")  # noqa: S608 - names of columns
    db.close()
    assert sum_ledger(core).requests == 100_000
    assert sum_ledger(core).cost == Decimal("0.01")


def test_only_the_owner_can_read_the_files(core: llmcore.Core, tmp_path: Path) -> None:
    core.llm.chat("one", **ASK)
    core.llm.chat("hit", max_tokens=4)
    core.llm.chat("hit", max_tokens=4)
    core.close()
    for path in tmp_path.rglob("ledger*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_damaged_ledger_fails_only_calls_with_a_budget(
    scripted: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    del scripted
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database at all" * 1000)
    settings = make_config(tmp_path)
    with pytest.raises(BudgetError) as caught:
        llmcore.load(settings).llm.chat("one", **ASK)
    assert caught.value.code == "LC603"
    del settings["budget"]
    core = llmcore.load(settings)
    with caplog.at_level(logging.WARNING, "llmcore"):
        assert core.llm.chat("two", **ASK).cost == EACH
        assert core.llm.chat("three", **ASK).cost == EACH
    assert len(caplog.records) == 1
    with pytest.raises(LedgerError):
        core.usage.by("day")
    assert (tmp_path / "ledger.sqlite3").read_bytes().startswith(b"no database")


def test_a_ledger_of_a_later_version_is_not_changed(core: llmcore.Core, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(BudgetError, match="version 99"):
        core.llm.chat("one", **ASK)


def test_without_a_ledger_calls_work_and_nothing_is_written(scripted: Any, tmp_path: Path) -> None:
    del scripted
    settings = make_config(tmp_path)
    del settings["budget"]
    core = llmcore.load({**settings, "ledger": {**settings["ledger"], "enabled": False}})
    assert core.llm.chat("one", max_tokens=4).cost == EACH
    assert core.llm.chat("one", max_tokens=4).cached
    core.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LedgerError, match="the ledger is disabled"):
        core.usage.by("day")
    budgeted = {**make_config(tmp_path), "ledger": {"enabled": False}}
    with pytest.raises(BudgetError, match="enabled is false"):
        llmcore.load(budgeted).llm.chat("two", **ASK)


def test_a_forked_child_and_its_parent_can_both_call(core: llmcore.Core) -> None:
    core.llm.chat("before", **ASK)
    child = os.fork()
    if child == 0:
        try:
            for n in range(20):
                core.llm.chat(f"child {n}", **ASK)
            os._exit(0)
        finally:
            os._exit(1)
    for n in range(20):
        core.llm.chat(f"parent {n}", **ASK)
    assert os.waitpid(child, 0)[1] == 0
    assert sum_ledger(core).requests == 41
    assert core.usage.budgets()[0].spent == 41 * EACH


def test_pruning_replaces_rows_and_keeps_the_sums_of_reports_and_budgets(core: llmcore.Core) -> None:
    core.llm.chat("one", user="ann", **ASK)
    before = core.usage.by(("day", "model", "user"))
    assert core.usage.prune("1h") == 0
    assert core.usage.prune(0 + 4e9) == 1
    assert core.usage.by(("day", "model", "user")) == before
    assert core.usage.latest() == []
    assert core.usage.budgets()[0].spent == EACH


def test_usage_is_summed_by_each_group(core: llmcore.Core, scripted: Any) -> None:
    core.llm.chat("one", user="ann", tags=["x", "y"], **ASK)
    core.llm.chat("two", user="ben", tags=["x"], **ASK)
    scripted.script[:] = [Unavailable("no", status=500, retry_after=3600)]
    with pytest.raises(Unavailable):
        core.llm.chat("three", **ASK)
    assert {row.name: row.cost for row in core.usage.by("user")} == {"": 0, "ann": EACH, "ben": EACH}
    assert {row.name: row.requests for row in core.usage.by("tag")} == {"": 1, "x": 2, "y": 1}
    assert [(row.name, row.failures) for row in core.usage.by("error")] == [("LC401 Unavailable", 1)]
    assert [row.name for row in asyncio.run(core.usage.aby("model"))] == ["scripted:default"]
    assert core.usage.by("day", until="2001-01-01") == []
    with pytest.raises(LedgerError, match="a time must be"):
        core.usage.by("day", since="yesterday")
    unknown: Any = "dya"
    with pytest.raises(LedgerError, match="unknown group `dya`") as caught:
        core.usage.by(unknown)
    assert caught.value.suggestion == "day"


def test_hits_are_written_in_bulk_and_reach_the_ledger(core: llmcore.Core) -> None:
    core.llm.chat("one", max_tokens=4)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: core.llm.chat("one", max_tokens=4, tags="again"), range(100)))
    row = sum_ledger(core)
    assert (row.requests, row.cached, row.saved) == (1, 100, 100 * EACH)
    assert len([row for row in list_rows(core) if row["state"] == "hit"]) == 1
    core.close()
    again = llmcore.load(make_config(Path(core.settings.ledger.path or "").parent, limit=100))
    assert sum_ledger(again).cached == 100
