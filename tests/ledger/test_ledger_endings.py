"""However a program ends, the ledger has a row for each request that the server received, and no reservation remains."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import llmcore
from llmcore_testing import Fault, Simulator

PRELUDE: Final = """
import asyncio, json, os, signal, sys, threading, llmcore
from concurrent.futures import ThreadPoolExecutor

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
core = llmcore.load(json.loads(sys.argv[1]))

def chat(n):
    return core.llm.chat(f"row {n}", max_tokens=16)

def achat(n):
    return core.llm.achat(f"row {n}", max_tokens=16)

def hang(n):
    core.llm.chat(f"row {n}", max_tokens=16, model="gpt-4o")

async def ahang(n):
    await core.llm.achat(f"row {n}", max_tokens=16, model="gpt-4o")

async def drain(n):
    async for _ in core.llm.astream(f"stream {n}", max_tokens=16, model="gpt-4o"):
        pass

async def wait_for_line():
    await asyncio.to_thread(sys.stdin.readline)
"""
WITH_TASKS: Final = """
async def main():
    await achat(0)
    calls = [*(ahang(n) for n in range(1, 4)), drain(1), drain(2)]
    {body}
{run}
"""


class Ending(NamedTuple):
    program: str
    answered: int
    cut: int = 0
    """Requests that the server holds when the program ends."""
    hits: int = 0
    signal: signal.Signals | None = None
    code: int = 0
    lost: bool = False
    """Whether the process ends without running our exit handlers: its requests are lost, and booked at their maximum cost."""


def _add_tasks(body: str, run: str = "asyncio.run(main())") -> str:
    return WITH_TASKS.format(body=body, run=run)


GATHERED: Final = "await asyncio.gather(*calls)"
THREADS: Final = """
threads = [threading.Thread(target=hang, args=(n,), daemon={daemon}) for n in range(1, 6)]
for thread in threads: thread.start()
"""

ENDINGS: Final = {
    "normal": Ending("asyncio.run(achat(0)); asyncio.run(achat(0)); core.close()", 1, hits=1),
    "normal, with tasks": Ending(
        _add_tasks("tasks = [asyncio.ensure_future(each) for each in calls]; await wait_for_line()"), 1, 5
    ),
    "exception": Ending("chat(0); chat(0); raise RuntimeError", 1, hits=1, code=1),
    "exception in a coroutine": Ending(
        _add_tasks("tasks = [asyncio.ensure_future(each) for each in calls]; await wait_for_line(); raise RuntimeError"),
        1,
        5,
        code=1,
    ),
    "exception in gather": Ending(
        """
async def fails():
    await wait_for_line(); raise RuntimeError
"""
        + _add_tasks("await asyncio.gather(*calls, fails())"),
        1,
        5,
        code=1,
    ),
    "Ctrl-C": Ending("chat(0); hang(1)", 1, 1, signal=signal.SIGINT, code=-signal.SIGINT),
    "Ctrl-C in a coroutine": Ending(
        _add_tasks(GATHERED), 1, 5, signal=signal.SIGINT, code=-signal.SIGINT
    ),
    "SIGTERM": Ending(
        _add_tasks(GATHERED), 1, 5, signal=signal.SIGTERM, code=-signal.SIGTERM, lost=True
    ),
    "SIGTERM that is handled": Ending(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))" + _add_tasks(GATHERED),
        1,
        5,
        signal=signal.SIGTERM,
        code=7,
    ),
    "kill": Ending(
        _add_tasks(GATHERED), 1, 5, signal=signal.SIGKILL, code=-signal.SIGKILL, lost=True
    ),
    "fork": Ending(
        """
chat(0); child = os.fork()
for n in (1, 2, 3) if child else (4, 5, 6): chat(n); chat(n)
if child: os.waitpid(child, 0)
""",
        7,
        hits=6,
    ),
    "fork while calls are in progress": Ending(
        _add_tasks(
            "tasks = [asyncio.ensure_future(each) for each in calls]; globals().update(locals()); await wait_for_line()",
            """
loop = asyncio.new_event_loop(); loop.run_until_complete(main())
if os.fork() == 0: sys.exit()
os.wait()
""",
        ),
        1,
        5,
    ),
    "fork within a stream": Ending(
        """
stream = core.llm.stream("Hello", max_tokens=16); next(stream)
if os.fork() == 0: sys.exit()
os.wait(); list(stream)
""",
        1,
    ),
    "children of multiprocessing": Ending(
        """
import multiprocessing
def work(k): chat(k); chat(k)
chat(99)
children = [multiprocessing.get_context("fork").Process(target=work, args=(k,)) for k in range(3)]
for child in children: child.start()
for child in children: child.join()
""",
        4,
        hits=3,
    ),
    "sys.exit in a thread": Ending(
        """
def work(n): chat(n); chat(n); sys.exit(3)
for n in range(5): threading.Thread(target=work, args=(n,)).start()
""",
        5,
        hits=5,
    ),
    "daemon threads": Ending("chat(0)" + THREADS.format(daemon=True) + "sys.stdin.readline()", 1, 5),
    "notebook": Ending(
        _add_tasks(
            "chat(0); tasks = [asyncio.ensure_future(each) for each in calls]; globals().update(locals()); await wait_for_line()",
            "loop = asyncio.new_event_loop(); loop.run_until_complete(main())",
        ),
        1,
        5,
        hits=1,
    ),
    "no close": Ending("for n in range(56): chat(n % 7)", 7, hits=49),
    "a Core that is dropped": Ending("chat(0); chat(0); del core", 1, hits=1),
}  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ENDINGS)
def test_the_ledger_contains_the_requests_that_the_server_received(tmp_path: Path, name: str) -> None:
    ending = ENDINGS[name]
    with Simulator() as upstream:
        upstream.fail(Fault.hang(), times=None, model="gpt-4o")
        settings: dict[str, Any] = {
            "llm": {
                "provider": "openai",
                "model": "gpt-4o-mini",
                "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
            },
            "budget": {"limit": 100},
            "cache": {"provider": "memory"},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        }
        stderr = _run(upstream, ending, settings)
        received = upstream.counts["requests"]
        core = llmcore.load(settings)
        rows = list(core.usage.export())
        (budget,) = core.usage.budgets()
        core.close()
    assert received == ending.answered + ending.cut, stderr
    states = Counter(row["state"] for row in rows if row["state"] != "hit")
    assert states == Counter({"done": ending.answered, "lost" if ending.lost else "failed": ending.cut}), (
        stderr
    )
    assert {row["uncertain"] for row in rows if row["state"] in ("failed", "lost")} <= {1}
    assert sum(row["count"] for row in rows if row["state"] == "hit") == ending.hits
    assert budget.reserved == 0
    assert budget.spent == sum(Decimal(row["cost"]) for row in rows)
    maximum = Decimal(16) * 10 / 1_000_000
    for row in rows:
        if row["uncertain"]:
            assert maximum <= Decimal(row["cost"]) < 3 * maximum


def _run(upstream: Simulator, ending: Ending, settings: dict[str, Any]) -> str:
    """Run the program to its end; return its stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + ending.program, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        upstream.wait_for_requests(ending.answered + ending.cut, 60)
        if ending.signal is not None:
            process.send_signal(ending.signal)
        _, stderr = process.communicate("\n" if ending.signal is None else None, timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == ending.code, stderr
    return stderr
