"""Another process holds the write lock of the ledger: answers do not wait for it, but budgets that refuse do.

The tests measure no time. Their timeouts are too short for calls that all wait as long as under a budget that refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.builtin.sqlite_ledger.database import Database
from llmcore.builtin.sqlite_ledger.writer import Writer
from llmcore.errors import BudgetError, LedgerUnavailable, Timeout
from llmcore.ledger import late_settlements

HOLD = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(10_000)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute(f"BEGIN {sys.argv[2]}")
connection.execute("CREATE TABLE IF NOT EXISTS anothers (name)")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def hold_lock(path: Path, how: str = "IMMEDIATE") -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.stdin.close()


def make_settings(path: Path, **more: Any) -> dict[str, Any]:
    return {
        "llm": {"provider": "echo"},
        "ledger": {"path": str(path)},
        "cache": {"provider": "memory"},
        **more,
    }


def count_calls(path: Path) -> int:
    with llmcore.load(make_settings(path)) as core:
        return sum(row["state"] == "done" for row in core.usage.export())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
@pytest.mark.parametrize("fresh", ["fresh", "used"])
def test_answers_do_not_wait_for_the_lock(
    how: str, fresh: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.sqlite3"
    if fresh == "used":
        with llmcore.load(make_settings(path)) as core:
            core.llm.chat("before")
    with caplog.at_level(logging.WARNING, "llmcore"), llmcore.load(make_settings(path)) as core:
        with hold_lock(path, how):
            for number in range(6):
                assert core.llm.chat(f"{number}").text == f"You said: {number}"
            assert asyncio.run(core.llm.achat("async")).text == "You said: async"
        (record,) = caplog.records
        assert "cannot be written: another process holds the write lock" in record.getMessage()
        core.llm.chat("after")
        core.llm.chat("and after")
    assert count_calls(path) == (9 if fresh == "fresh" else 10), (
        "the calls under the lock are handed in after it was released"
    )


@pytest.mark.timeout(60)
def test_a_budget_that_refuses_fails_with_its_code(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    budget = {"limit": "1 USD", "per": "day"}
    with llmcore.load(make_settings(path, budget=budget)) as core, hold_lock(path):
        for _ in range(2):
            with pytest.raises(BudgetError) as caught:
                core.llm.chat("hi")
            assert caught.value.code == "LC603"
            assert "another process holds the write lock" in caught.value.message


@pytest.mark.timeout(60)
def test_a_call_that_started_before_the_lock_is_booked_after_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with llmcore.load(make_settings(path)) as core:
        core.llm.chat("first")
        streams = [core.llm.stream(f"a longer text of number {number}") for number in range(8)]
        for stream in streams:
            next(iter(stream))
        with hold_lock(path):
            texts = ["".join(delta.text for delta in stream) for stream in streams]
            assert all(texts)
        while core.usage.open():
            time.sleep(0.01)
    assert count_calls(path) == 9


@pytest.mark.timeout(120)
def test_an_outcome_that_fills_its_budget_is_booked_after_the_ledger_works_again(
    scripted: Any, tmp_path: Path
) -> None:
    del scripted
    path = tmp_path / "ledger.sqlite3"
    settings = make_settings(path, budget={"limit": "0.02 USD"}) | {
        "llm": {"provider": "scripted"},
        "prices": {"scripted:default": {"input": 0, "output": "3125"}},  # a call reserves 0.0125 USD
    }
    with llmcore.load(settings) as core, closing(apsw.Connection(str(path))) as other:
        stream = core.llm.stream("refused", max_tokens=4)
        next(iter(stream))
        other.execute("ALTER TABLE calls RENAME TO broken")
        assert all(delta is not None for delta in stream)
        other.execute("ALTER TABLE broken RENAME TO calls")
        assert len(core.usage.open()) == 1
        while core.usage.open():  # the calls are refused, so none of them is a success
            with pytest.raises(BudgetError):
                core.llm.chat("next", max_tokens=4, cache=False, timeout="0.3s")
        assert [row["state"] for row in core.usage.export()] == ["done"]


@pytest.mark.timeout(60)
def test_work_with_a_shorter_timeout_fails_while_other_work_still_waits(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.sqlite3")
    writer = Writer(database)
    writer.run(lambda _: None)
    done: list[Any] = []

    def run_patiently() -> None:
        done.append(writer.run(lambda db: db.execute("SELECT 1").get, 50.0))

    with hold_lock(database.path):
        thread = threading.Thread(target=run_patiently)
        thread.start()
        while not (writer._committing or done):
            time.sleep(0.001)
        with pytest.raises(LedgerUnavailable):
            writer.run(lambda _: None, 0.01)

        async def run_async() -> None:
            await writer.run_async(lambda _: None, 0.01)

        with pytest.raises(LedgerUnavailable):
            asyncio.run(run_async())
        assert thread.is_alive()
        assert not done
    thread.join()
    assert done == [1]
    database.close()


@pytest.mark.timeout(60)
def test_calls_that_are_collected_do_not_wait_for_the_lock_and_are_booked_after_it(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sent = tmp_path / "ledger.sqlite3", []

    async def hang(_: object, request: object) -> None:
        sent.append(request)
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(scripted.Scripted, "acomplete", hang)
    loop = asyncio.new_event_loop()
    with llmcore.load(make_settings(path, llm={"provider": "scripted"})) as core:
        calls = [core.llm.achat(f"{number}", cache=False) for number in range(8)]
        tasks = [loop.create_task(call) for call in calls]
        while len(sent) < len(calls):
            loop.run_until_complete(asyncio.sleep(0.001))
        with hold_lock(path):
            for call in calls:
                call.close()  # as the garbage collector does, after the loop has ended
        while core.usage.open():
            time.sleep(0.01)
        rows = [(row["state"], row["error"]) for row in core.usage.export()]
    for task in tasks:
        task.cancel()
    loop.close()
    assert rows == [("failed", "cancelled")] * 8


@pytest.mark.timeout(60)
def test_work_of_the_garbage_collector_during_a_commit_waits_for_the_lock(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.sqlite3")
    writer = Writer(database)
    done: list[str] = []

    def commit(_: apsw.Connection) -> None:
        if not done:
            done.append("outer")
            writer.run(lambda _: done.append("inner"), 0.0)  # as from `__del__`, in the midst of a commit

    writer.run(commit)
    assert done == ["outer", "inner"]
    database.close()


def test_the_ledger_gets_no_more_time_than_its_call_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded at the ledger: with a lock, the calls would fail after either time."""
    seconds = 5.0
    asked: dict[str, float] = {}

    def record(name: str, method: Any) -> Any:
        def call(*args: Any) -> Any:
            asked[name] = max(args[-1], asked.get(name, 0.0))
            return method(*args)

        return call

    settings = make_settings(tmp_path / "ledger.sqlite3", budget={"limit": "1 USD"})
    with llmcore.load(settings) as core:
        provider = core.backend("ledger").provider
        names = {"prepare", "reserve", "areserve", "read_budgets"}
        for name in names:
            monkeypatch.setattr(provider, name, record(name, getattr(provider, name)))
        while asked.keys() != names:
            with contextlib.suppress(Timeout, BudgetError):  # on a machine that stops for so long
                core.llm.chat("sync", timeout=seconds, cache=False)
                asyncio.run(core.llm.achat("async", timeout=seconds, cache=False))
                core.llm.embed([f"text {number}" for number in range(2049)], timeout=seconds, cache=False)
    assert max(asked.values()) <= seconds, asked


@pytest.mark.timeout(120)
def test_an_outcome_waits_for_the_lock_as_long_as_it_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_settlements, "LOCK_TIMEOUT_S", 0.0)  # the thread reports its first failure
    path = tmp_path / "ledger.sqlite3"
    with llmcore.load(make_settings(path)) as core:
        stream = core.llm.stream("a longer text")
        next(iter(stream))
        with hold_lock(path):
            assert all(delta is not None for delta in stream)
            while "another process holds the write lock" not in caplog.text:
                time.sleep(0.01)
        while core.usage.open():
            time.sleep(0.01)
        assert [row["state"] for row in core.usage.export()] == ["done"]


@pytest.mark.timeout(120)
def test_an_outcome_that_the_ledger_refused_is_booked_after_the_next_success(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    budgets = [{"limit": "1 USD", "tag": "team"}]
    with (
        llmcore.load(make_settings(path, budgets=budgets)) as core,
        closing(apsw.Connection(str(path))) as other,
    ):
        streams = [core.llm.stream(f"a longer text {number}", tags=["team"]) for number in range(3)]
        for stream in streams:
            next(iter(stream))
        other.execute("ALTER TABLE calls RENAME TO broken")
        for stream in streams:
            assert all(delta is not None for delta in stream)
        other.execute("ALTER TABLE broken RENAME TO calls")
        assert len(core.usage.open()) == len(streams)
        while core.usage.open():
            core.llm.chat("next", tags=["team"], cache=False)
            time.sleep(0.05)
        assert {row["state"] for row in core.usage.export()} == {"done"}
