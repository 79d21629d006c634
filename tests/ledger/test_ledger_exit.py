"""Python ends while another process holds the lock of the ledger: one short wait, and the next process settles the rest.

No test measures time: the waits are added up, or the clock is the test's.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.builtin.sqlite_ledger import writer
from llmcore.builtin.sqlite_ledger.database import Database
from llmcore.builtin.sqlite_ledger.writer import Writer
from llmcore.errors import LedgerUnavailable
from llmcore.ledger import exit_handlers
from tests.ledger.test_ledger_locked import hold_lock, make_settings

pytestmark = pytest.mark.timeout(120)

PROGRAM = """
import json, sys, llmcore, llmcore.ledger.late_settlements

llmcore.ledger.late_settlements._ATTEMPT_S = 3600.0  # Python must not wait for the thread that waits so long
core = llmcore.load(json.loads(sys.argv[1]))
core.llm.chat("before")
streams = [core.llm.stream(f"row {number}") for number in range(6)]
for stream in streams:
    next(iter(stream))
print("open", flush=True)
sys.stdin.readline()
if sys.argv[2] == "answered":
    for stream in streams:
        for delta in stream:
            pass
"""


@pytest.mark.parametrize("how", ["answered", "cut"])
def test_a_program_ends_and_the_next_one_settles_its_rows(how: str, tmp_path: Path) -> None:
    """The rows of `answered` wait in a thread, those of `cut` were never settled."""
    path = tmp_path / "ledger.sqlite3"
    settings = make_settings(path, llm={"provider": "echo"})
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(settings), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "open\n"
        with hold_lock(path):
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.wait() == 0
    with llmcore.load(settings) as core:
        core.llm.chat("after")
        rows = Counter(row["state"] for row in core.usage.export())
    assert rows == {"done": 2, "lost": 6}


def open_calls(core: Any, count: int, sent: list[Any], loop: asyncio.AbstractEventLoop) -> list[Any]:
    calls = [core.llm.achat(f"{number}", cache=False) for number in range(count)]
    tasks = [loop.create_task(call) for call in calls]
    while len(sent) < count:
        loop.run_until_complete(asyncio.sleep(0.001))
    return tasks


def test_all_reservations_share_one_wait(
    tmp_path: Path, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sent, waits = tmp_path / "ledger.sqlite3", [], []
    connect = Database.connect

    async def hang(_: object, request: object) -> None:
        sent.append(request)
        await asyncio.get_running_loop().create_future()

    def record(database: Database, *, timeout_s: float) -> apsw.Connection:
        waits.append(timeout_s)
        return connect(database, timeout_s=timeout_s)

    monkeypatch.setattr(scripted.Scripted, "acomplete", hang)
    loop = asyncio.new_event_loop()
    with llmcore.load(make_settings(path, llm={"provider": "scripted"})) as core:
        tasks = open_calls(core, 8, sent, loop)
        with hold_lock(path):
            monkeypatch.setattr(Database, "connect", record)
            exit_handlers.finish()
            monkeypatch.undo()
        assert sum(waits) <= exit_handlers.TIMEOUT_S + writer._ATTEMPT_S, "each reservation waits by itself"
        assert len(list(core.usage.open())) == 8, "a row was closed under the lock of another process"
        exit_handlers.finish()
        rows = [(row["state"], row["error"], row["uncertain"]) for row in core.usage.export()]
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    assert rows == [("failed", "cancelled", True)] * 8


def test_exit_handlers_share_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    class Slow:
        def at_exit(self, timeout_s: float) -> None:
            given.append(round(timeout_s, 6))
            clock.now += 0.6

    clock = Clock()
    given: list[float] = []
    monkeypatch.setattr(exit_handlers, "_watched", [Slow(), Slow(), Slow()])
    exit_handlers.finish(clock)
    assert given == [1.0, 0.4, 0.0]


def test_outcomes_delayed_by_a_lock_are_written_by_one_daemon_thread(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with llmcore.load(make_settings(path)) as core:
        core.llm.chat("first")
        streams = [core.llm.stream(f"number {number}") for number in range(8)]
        for stream in streams:
            next(iter(stream))
        with hold_lock(path):
            for stream in streams:
                assert all(delta is not None for delta in stream)
            threads = [thread for thread in threading.enumerate() if thread.name == "llmcore-settle"]
            assert [thread.daemon for thread in threads] == [True]
        threads[0].join()
        assert not core.usage.open()
        assert [row["state"] for row in core.usage.export()] == ["done"] * 9


def test_without_a_thread_queued_work_waits_a_second_and_not_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python that exits starts no thread: what was given to one runs at once, in the thread that exits."""

    def refuse(_: object, *__: object, **___: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    database = Database(tmp_path / "ledger.sqlite3")
    queue = Writer(database)
    queue.run(lambda _: None)
    connect: Callable[..., apsw.Connection] = database.connect
    waits: list[float] = []

    def record(*, timeout_s: float) -> apsw.Connection:
        waits.append(timeout_s)
        return connect(timeout_s=timeout_s)

    monkeypatch.setattr(database, "connect", record)

    async def work() -> None:
        await queue.run_async(lambda _: None, writer.LOCK_TIMEOUT_S)

    with hold_lock(database.path), pytest.raises(LedgerUnavailable):
        asyncio.run(work())
    assert sum(waits) <= writer.INLINE_TIMEOUT_S + writer._ATTEMPT_S
    database.close()
