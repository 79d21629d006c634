"""Without further threads everything works, though more slowly; and nothing hangs while Python exits."""

from __future__ import annotations

import asyncio
import contextvars
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore import threads
from llmcore.cache.breaker import Breaker
from llmcore.calls.drivers import run
from llmcore.calls.gather import gather
from llmcore.calls.loop import run_in_loop
from llmcore.calls.steps import Act, Step
from llmcore.errors import CacheUnavailable, LLMCoreError, StorageError
from llmcore.ledger.hits import HitKey, Hits
from llmcore.ledger.spool import Spool
from llmcore.storage.pieces import PieceSource
from llmcore.support.threads import run_in_thread, start_thread, submit
from tests.kits.money import ASK, make_config
from tests.kits.waiting import wait_until


class Limit:
    """The threads that may still be started."""

    def __init__(self) -> None:
        self.reached = False


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    limit, plain = Limit(), threading.Thread.start
    threads._make_executor.cache_clear()  # one with idle threads needs no further one

    def start(thread: threading.Thread) -> None:
        if limit.reached:
            raise RuntimeError("can't start new thread")
        plain(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    yield limit
    threads._make_executor.cache_clear()


def test_starting_a_thread_returns_whether_it_runs(limit: Limit) -> None:
    done: list[int] = []
    thread = threading.Thread(target=done.append, args=(1,))
    assert start_thread(thread)
    thread.join()
    limit.reached = True
    assert not start_thread(threading.Thread(target=done.append, args=(2,)))
    assert done == [1]


def test_work_for_an_executor_is_done_once_although_it_stays_in_its_queue(limit: Limit) -> None:
    limit.reached = True
    done: list[str] = []
    assert submit(done.append, "first").done()
    with pytest.raises(ZeroDivisionError):
        submit(lambda: 1 // 0).result()
    limit.reached = False
    submit(done.append, "second").result()
    assert done == ["first", "second"]


def test_a_blocking_function_is_called_in_a_task_with_its_context(limit: Limit) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    def read_variable() -> tuple[int, bool]:
        return variable.get(), threading.current_thread() is threading.main_thread()

    async def main() -> list[tuple[int, bool]]:
        variable.set(7)
        limit.reached = True
        found = [await run_in_thread(read_variable)]
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(lambda: 1 // 0)
        found.append(await run_in_thread(read_variable, otherwise=lambda: (0, False)))
        limit.reached = False
        found.append(await run_in_thread(read_variable))
        return found

    assert asyncio.run(main()) == [(7, True), (0, False), (7, False)]


def test_pieces_of_work_that_would_be_done_side_by_side_are_done_in_turn(limit: Limit) -> None:
    limit.reached = True

    def works() -> Iterator[Callable[[], Act[int]]]:
        for number in range(5):

            def work(number: int = number) -> Act[int]:
                doubled: int = yield Step(lambda: number * 2, None)
                return doubled

            yield work

    def call() -> Act[Any]:
        return (yield gather(list(works()), 3))

    assert run(call()) == [0, 2, 4, 6, 8]


def test_a_blocking_call_of_an_asynchronous_backend_is_driven_by_its_caller_until_there_is_a_thread(
    limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_loop", None), ("_has_thread", False)):
        monkeypatch.setattr(f"llmcore.calls.loop.{name}", value)

    async def where() -> tuple[asyncio.AbstractEventLoop, bool]:
        await asyncio.sleep(0)
        return asyncio.get_running_loop(), threading.current_thread() is threading.main_thread()

    async def within() -> None:
        run_in_loop(where())

    limit.reached = True
    loop, here = run_in_loop(where())
    assert here
    assert run_in_loop(where()) == (loop, True), "connections belong to their loop: it must stay the same"
    with pytest.raises(LLMCoreError, match="no further thread can be started") as refused:
        asyncio.run(within())
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    limit.reached = False
    assert run_in_loop(where()) == (loop, False)
    loop.call_soon_threadsafe(loop.stop)
    wait_until(lambda: not loop.is_running())
    loop.close()


def test_the_circuit_breaker_of_a_cache_counts_by_time(limit: Limit) -> None:
    limit.reached = True
    probes, reopened = [], []
    answers = False

    def probe() -> bool:
        probes.append(threading.current_thread())
        return answers

    breaker = Breaker(probe, lambda: reopened.append(True), pause_s=0.02)
    assert breaker.record_failure(CacheUnavailable("away"))
    assert breaker.is_open
    wait_until(lambda: breaker.is_open and bool(probes))
    assert not reopened
    answers = True
    wait_until(lambda: not breaker.is_open)
    assert set(probes) == {threading.current_thread()}
    assert reopened == [True]
    answers = False
    assert breaker.record_failure(CacheUnavailable("away again"))
    limit.reached = False
    probes.clear()
    wait_until(lambda: breaker.is_open and bool(probes))
    assert threading.current_thread() not in probes, "as soon as there is a thread it probes"
    breaker.close()


def test_hits_are_noted_at_once(limit: Limit, tmp_path: Path) -> None:
    limit.reached = True
    hits = Hits(Spool(tmp_path / "ledger.sqlite3"))
    for _ in range(3):
        hits.record_hit(HitKey("llm", "echo", "echo", None, ()), Decimal("0.1"))
    assert len((tmp_path / "ledger.sqlite3.hits").read_bytes().splitlines()) == 3


def test_an_alert_is_sent_when_a_thread_can_be_started_again(
    limit: Limit, scripted: Any, tmp_path: Path
) -> None:
    del scripted
    received = tmp_path / "received"
    command = [sys.executable, "-c", f"import sys; open({str(received)!r}, 'w').write(sys.stdin.read())"]
    limit.reached = True
    with llmcore.load(make_config(tmp_path, limit="0.1 USD", alert_at=[0.1], alert_command=command)) as core:
        assert core.llm.chat("Hello", **ASK).text
        limit.reached = False
        assert core.llm.chat("Hello again", **ASK).text
        wait_until(lambda: received.exists() and received.read_text().endswith("}"))
    assert json.loads(received.read_text())["fraction"] == 0.1


async def split_text(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def test_files_and_streams_are_stored(limit: Limit, tmp_path: Path) -> None:
    async def main() -> None:
        async with llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(tmp_path)}}}) as core:
            await core.storage.asave("file", b"data")
            assert await core.storage.aload("file") == b"data"
            for key, pieces in (("blocking", [b"d", b"ata"]), ("asynchronous", split_text(b"da", b"ta"))):
                await core.storage.asave_stream(key, pieces)
                assert b"".join([piece async for piece in core.storage.aload_stream(key)]) == b"data"

    limit.reached = True
    asyncio.run(main())


def test_a_stream_that_would_wait_for_its_own_loop_is_refused(limit: Limit) -> None:
    class Blocking:
        def __init__(self) -> None:
            self.saved: dict[str, bytes] = {}

        def save_stream(self, key: str, pieces: Iterator[bytes]) -> None:
            self.saved[key] = b"".join(pieces)

    async def save(pieces: Any) -> None:
        step = PieceSource(pieces).make_step(storage, "key")
        assert step.awaiting is not None
        await step.awaiting(*step.args)

    storage = Blocking()
    limit.reached = True
    asyncio.run(save([b"da", b"ta"]))
    assert storage.saved.pop("key") == b"data"
    with pytest.raises(StorageError, match="no further thread can be started"):
        asyncio.run(save(split_text(b"da", b"ta")))
    assert not storage.saved


ENDING = """
import asyncio, atexit, sys, threading, weakref
import llmcore
from llmcore.calls.loop import run_in_loop
from llmcore.support.threads import run_in_thread, start_thread, submit

core = llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"},
                     "ledger": {"path": "ledger.sqlite3"}})
core.llm.chat("first")
run_in_loop(asyncio.sleep(0))

def at_exit():
    assert core.llm.chat("at exit").text
    assert core.llm.chat("at exit").cached
    run_in_loop(asyncio.sleep(0))
    asyncio.run(core.llm.achat("in a loop at exit"))
    assert asyncio.run(run_in_thread(lambda: 1)) == 1
    print("at exit")

class Last:
    def __init__(self):
        self.keep = (core, start_thread, threading.Thread, sys.is_finalizing, print, run_in_loop, asyncio.sleep)

    def __del__(self):
        core, start, Thread, ending, say, in_loop, sleep = self.keep
        assert ending()
        assert start(Thread(target=int)) is False
        try:
            core.llm.chat("first")
            in_loop(sleep(0))
        except Exception:
            pass
        say("finalized")

last = sys.modules["keep me"] = Last()  # lives until the modules go
atexit.register(at_exit)
"""


def test_nothing_hangs_while_the_interpreter_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "at exit\nfinalized\n", ""), done.stderr
