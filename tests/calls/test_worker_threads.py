"""Blocking backends in an event loop: many at once, and none of them holds a call or the program."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import llmcore
from llmcore.errors import ConfigError, Timeout
from llmcore.types import ChatRequest, Delta, Reply, Usage

LONG_S = 60.0
CONFIG: dict[str, Any] = {"llm": {"provider": "scripted"}, "retry": {"attempts": 1}}
PROGRAM = """
import asyncio, threading
import llmcore
from llmcore_scripted import Scripted

del Scripted.acomplete
Scripted.complete = lambda self, request: threading.Event().wait()


async def main():
    with llmcore.load({"llm": {"provider": "scripted"}, "retry": {"attempts": 1}}) as core:
        await core.llm.achat("q", timeout=0.5)


try:
    asyncio.run(main())
except llmcore.errors.Timeout:
    print("late")
"""


@pytest.fixture
def blocking(scripted: ModuleType, monkeypatch: pytest.MonkeyPatch) -> type:
    """Return the class of a backend that has no asynchronous method."""
    monkeypatch.delattr(scripted.Scripted, "acomplete")
    backend: type = scripted.Scripted
    return backend


def answer(request: ChatRequest) -> Reply:
    return Reply(text="well", model=request.model, usage=Usage())


@pytest.mark.parametrize(
    ("count", "limits"), [(30, {}), (100, {"concurrency": 100})], ids=["usual", "limits"]
)
def test_blocking_calls_run_at_once(
    blocking: type, monkeypatch: pytest.MonkeyPatch, count: int, limits: dict[str, int]
) -> None:
    everyone = threading.Barrier(count, timeout=LONG_S)

    def complete(_: object, request: ChatRequest) -> Reply:
        everyone.wait()
        return answer(request)

    async def ask(core: llmcore.Core) -> list[Reply]:
        return await asyncio.gather(*(core.llm.achat(f"question {number}") for number in range(count)))

    monkeypatch.setattr(blocking, "complete", complete)
    with llmcore.load({**CONFIG, "limits": limits}) as core:
        assert [reply.text for reply in asyncio.run(ask(core))] == ["well"] * count


def test_most_threads_end_after_a_burst_of_blocking_calls(
    blocking: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 300
    everyone = threading.Barrier(count, timeout=LONG_S)

    def complete(_: object, request: ChatRequest) -> Reply:
        everyone.wait()
        return answer(request)

    monkeypatch.setattr(blocking, "complete", complete)
    before = threading.active_count()
    with llmcore.load({**CONFIG, "limits": {"concurrency": count}}) as core:
        callers = [threading.Thread(target=core.llm.chat, args=(f"q {number}",)) for number in range(count)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(LONG_S)
        ends = time.monotonic() + LONG_S
        while threading.active_count() > before + count // 2:
            assert time.monotonic() < ends, f"{threading.active_count() - before} threads remain"
            time.sleep(0.01)


def test_calls_that_hang_are_abandoned_and_others_get_threads(
    blocking: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()

    def complete(_: object, request: ChatRequest) -> Reply:
        if "hang" in str(request.messages):
            release.wait()
        return answer(request)

    async def ask(core: llmcore.Core) -> list[Reply | BaseException]:
        calls = [core.llm.achat(f"hang {number}", timeout=0.5) for number in range(70)]
        late = await asyncio.gather(*calls, return_exceptions=True)
        return [*late, await core.llm.achat("another", timeout=LONG_S)]

    monkeypatch.setattr(blocking, "complete", complete)
    with caplog.at_level(logging.WARNING, "llmcore"), llmcore.load(CONFIG) as core:
        try:
            *late, last = asyncio.run(ask(core))
            ends = time.monotonic() + LONG_S
            while "its thread was abandoned; the method must obey timeout_s" not in caplog.text:
                assert time.monotonic() < ends, "no warning was logged"
                release.wait(0.05)
        finally:
            release.set()
    assert {type(outcome) for outcome in late} == {Timeout}
    assert isinstance(last, Reply)


@pytest.mark.parametrize("way", ["complete", "stream"])
def test_a_blocking_call_that_ignores_its_timeout_ends_at_the_deadline(
    scripted: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    entered, release = threading.Event(), threading.Event()

    def stream(_: object, request: ChatRequest) -> Iterator[Delta]:
        yield Delta(text="It ")
        entered.set()
        release.wait()
        yield Delta(text=request.model, finish_reason="stop")

    def complete(_: object, request: ChatRequest) -> Reply:
        entered.set()
        release.wait()
        return answer(request)

    method = "complete" if way == "complete" else "_next"  # the next piece of a stream
    for name in ("acomplete", "astream"):
        monkeypatch.delattr(scripted.Scripted, name, raising=False)
    monkeypatch.setattr(scripted.Scripted, way, stream if way == "stream" else complete, raising=False)
    with caplog.at_level(logging.WARNING, "llmcore"), llmcore.load(CONFIG) as core:
        try:
            ask: Any = (
                core.llm.chat
                if way == "complete"
                else lambda *args, **named: [*core.llm.stream(*args, **named)]
            )
            timeout = 0.5
            while not entered.is_set():  # on a busy machine, a short deadline may pass before the thread runs
                with pytest.raises(Timeout):
                    ask("q", timeout=timeout)
                timeout *= 2
            ends = time.monotonic() + LONG_S
            while (
                f"{method} still runs 1 s after its call ended, so its thread was abandoned"
                not in caplog.text
            ):
                assert time.monotonic() < ends, "no warning was logged"
                release.wait(0.05)
        finally:
            release.set()


@pytest.mark.parametrize("keeps", [True, False])
def test_a_backend_that_keeps_timeouts_is_called_in_the_thread_of_its_caller(
    scripted: ModuleType, monkeypatch: pytest.MonkeyPatch, *, keeps: bool
) -> None:
    threads: list[threading.Thread] = []

    def complete(_: object, request: ChatRequest) -> Reply:
        threads.append(threading.current_thread())
        return answer(request)

    monkeypatch.setattr(scripted.Scripted, "complete", complete, raising=False)
    monkeypatch.setattr(scripted.Scripted, "keeps_timeouts", keeps, raising=False)
    with llmcore.load(CONFIG) as core:
        core.llm.chat("q")
    assert (threads == [threading.current_thread()]) is keeps


def test_a_call_that_hangs_does_not_keep_the_program_alive(scripted: ModuleType) -> None:
    folder = str(scripted.__file__).rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG_S,
    )
    assert done.stdout == "late\n", done.stderr


def test_a_plugin_that_cannot_be_created_logs_no_error_of_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    openai = {"base_url": "not an address", "api_key": "sk-test"}

    async def ask() -> None:
        async with llmcore.load({"llm": {"provider": "openai", "openai": openai}}) as core:
            with pytest.raises(ConfigError, match="base_url"):
                await core.llm.achat("Hello", model="gpt-4o-mini")
            gc.collect()

    asyncio.run(ask())
    assert "never retrieved" not in caplog.text
