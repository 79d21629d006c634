"""Early refresh of replies: one caller renews a reply in the background, while all callers get the old one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.cache.refresh import MAX_RUNNING, Refresher
from llmcore.errors import BadRequest, ConfigError
from llmcore.types import Reply
from llmcore_testing import Simulator
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.waiting import wait_until

CONFIG: dict[str, Any] = {
    "llm": {"provider": "scripted"},
    "cache": {"provider": "memory", "ttl": 1000, "refresh": 0.5},
    "prices": {"scripted:default": {"input": 1, "output": 2}},
    "observers": {"use": ["listener"]},
    "retry": {"attempts": 1},
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let a test move the wall clock; entries in memory expire by another."""
    moved = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + moved[0])
    return moved


@pytest.fixture
def core(scripted: Any) -> Iterator[llmcore.Core]:
    del scripted
    with llmcore.load(CONFIG) as core:
        yield core


def upstream_config(upstream: Simulator, cache: dict[str, Any]) -> dict[str, Any]:
    openai = {"api_key": "sk-test", "base_url": upstream.base_url}
    return {"llm": {"provider": "openai", "model": "gpt-5.6-luna", "openai": openai}, "cache": cache}


def is_settled(core: llmcore.Core) -> bool:
    """Return whether no refresh is under way."""
    turns = core.llm._services.refresher._attempts
    return all(turn.until != float("inf") for turn in turns.values())


def test_a_stale_reply_is_served_at_once_and_refreshed_once(
    core: llmcore.Core, scripted: Any, clock: list[float]
) -> None:
    first = core.llm.chat("Hello", user="ann", tags="t")
    clock[0] = 499.0
    assert core.llm.chat("Hello").text == first.text
    assert len(scripted.requests) == 1
    clock[0] = 501.0
    second = core.llm.chat("Hello", user="ben", tags="u")
    assert (second.text, second.cached, second.cost) == (first.text, True, Decimal(0))
    wait_until(lambda: core.llm.chat("Hello").text == "answer 2 of " + str(os.getpid()))
    assert core.llm.chat("Hello").cached
    assert len(scripted.requests) == 2
    asked = [event for event in scripted.events if not event.cached]
    assert [(event.user, event.tags) for event in asked] == [("ann", ("t",)), ("ben", ("u",))]
    assert core.usage.totals().calls == 2
    clock[0] = 1000.0
    assert core.llm.chat("Hello").text.startswith("answer 2")
    assert len(scripted.requests) == 2, "its TTL started again"


def test_tasks_and_streams_refresh_in_their_own_way(
    core: llmcore.Core, scripted: Any, clock: list[float]
) -> None:
    async def read() -> str:
        return "".join([delta.text async for delta in core.llm.astream("Hello")])

    async def main() -> None:
        first = (await core.llm.achat("Hello")).text
        clock[0] = 501.0
        assert await read() == first
        assert "llmcore-refresh" not in {thread.name for thread in threading.enumerate()}
        async with asyncio.timeout(60):
            while (await core.llm.achat("Hello")).text == first:  # noqa: ASYNC110 - what is waited for is what is answered
                await asyncio.sleep(0)
        assert (await read()).startswith("answer 2")

    asyncio.run(main())
    clock[0] = 1500.0
    assert "".join(delta.text for delta in core.llm.stream("Hello")).startswith("answer 2")
    wait_until(lambda: core.llm.chat("Hello").text.startswith("answer 3"))
    assert len(scripted.requests) == 3


def test_without_the_option_nothing_is_refreshed(scripted: Any, clock: list[float]) -> None:
    with llmcore.load({**CONFIG, "cache": {"provider": "memory", "ttl": 1000}}) as core:
        core.llm.chat("Hello", cache_refresh=0.5)
        clock[0] = 999.0
        core.llm.chat("Hello")
        assert is_settled(core)
        core.llm.chat("Hello", cache_refresh=0.1)
        wait_until(lambda: len(scripted.requests) == 2)


def test_the_time_of_the_call_decides(core: llmcore.Core, scripted: Any, clock: list[float]) -> None:
    core.llm.chat("Hello", cache_ttl=100, cache_refresh=0.2)
    clock[0] = 19.0
    core.llm.chat("Hello")
    assert is_settled(core)
    clock[0] = 21.0
    core.llm.chat("Hello")
    wait_until(lambda: len(scripted.requests) == 2)


def test_concurrent_threads_refresh_once(tmp_path: Path, clock: list[float]) -> None:
    cache = {"provider": "file", "ttl": 1000, "refresh": 0.5, "file": {"cache_dir": str(tmp_path)}}
    with Simulator() as upstream, llmcore.load(upstream_config(upstream, cache)) as core:
        core.llm.chat("Hello")
        clock[0] = 600.0
        upstream.hold()
        with ThreadPoolExecutor(20) as pool:
            replies: list[Reply] = list(pool.map(core.llm.chat, ["Hello"] * 200))
        assert all(reply.cached for reply in replies), "no caller waits for the new answer"
        upstream.wait_for_requests(2)
        upstream.release()
        wait_until(lambda: is_settled(core))
        core.llm.chat("Hello")
        assert upstream.counts["chat"] == 2


PROGRAM = """
import sys, llmcore
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

with llmcore.load({config!r}) as core, ThreadPoolExecutor(5) as pool:
    core.cache.get("warm")
    print("ready", flush=True)
    sys.stdin.readline()
    asked = [pool.submit(core.llm.chat, "Hello", cache_refresh=0.9) for _ in range(50)]
    assert all(each.result(60).cached for each in asked)
    print("answered", flush=True)
    sys.stdin.readline()
"""


def check_that_many_processes_refresh_once(upstream: Simulator, cache: dict[str, Any]) -> None:
    config = upstream_config(upstream, cache)
    with llmcore.load(config) as core:
        core.llm.chat("Hello", cache_refresh=0.000_001)
    upstream.hold()
    command = [sys.executable, "-c", PROGRAM.format(config=config)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    try:
        for said in ("ready\n", "answered\n"):
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == said
            if said == "answered\n":
                upstream.wait_for_requests(2)
                upstream.release()
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert upstream.counts["chat"] == 2


def test_processes_on_one_file_cache_refresh_once(tmp_path: Path) -> None:
    with Simulator() as upstream:
        check_that_many_processes_refresh_once(
            upstream, {"provider": "file", "ttl": "1h", "file": {"cache_dir": str(tmp_path)}}
        )


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
def test_processes_on_one_redis_refresh_once(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, Simulator() as upstream:
        redis = {"url": server.url, "timeout": "5s", "connect_timeout": "5s"}
        check_that_many_processes_refresh_once(upstream, {"provider": "redis", "ttl": "1h", "redis": redis})


def test_a_failed_refresh_is_logged_once_and_the_old_reply_is_served(
    core: llmcore.Core, scripted: Any, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    first = core.llm.chat("Hello")
    clock[0] = 501.0
    scripted.script[:] = [ValueError("a secret"), ValueError("a secret")]
    for turn in (2, 3):
        for _ in range(5):
            assert core.llm.chat("Hello").text == first.text
        wait_until(lambda turn=turn: len(scripted.requests) == turn and is_settled(core))  # type: ignore[misc]
        assert core.llm.chat("Hello").text == first.text
        assert len(scripted.requests) == turn, "there is a pause after a failure"
        core.llm._services.refresher._attempts = {  # the pause is over
            key: turn._replace(until=0.0) for key, turn in core.llm._services.refresher._attempts.items()
        }
    assert core.usage.totals().failures == 2
    wait_until(lambda: core.llm.chat("Hello").text != first.text)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "refreshing a reply of `scripted:default` failed, the old result is still served: ProviderError"
    ]


def test_an_uncacheable_refresh_is_not_repeated_at_every_call(
    core: llmcore.Core, scripted: Any, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    first = core.llm.chat("Hello")
    clock[0] = 501.0
    scripted.script[:] = [Reply(text="cut", finish_reason="length")] * 5
    for _ in range(5):
        assert core.llm.chat("Hello").text == first.text
        wait_until(lambda: is_settled(core))
    assert len(scripted.requests) == 2
    wait_until(lambda: "the new result was not stored" in caplog.text)


def test_an_invalidated_reply_is_not_refreshed(
    core: llmcore.Core, scripted: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    core.llm.chat("Hello")
    clock[0] = 501.0
    begin, begun = threading.Thread.start, list[threading.Thread]()
    monkeypatch.setattr(threading.Thread, "start", lambda thread: begun.append(thread))  # noqa: PLW0108 - a method
    core.llm.chat("Hello")
    monkeypatch.undo()
    core.cache.clear()
    begin(begun[0])
    wait_until(lambda: is_settled(core))
    assert len(scripted.requests) == 1


def test_a_machine_without_a_thread_to_spare_answers_all_the_same(
    core: llmcore.Core, scripted: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    first = core.llm.chat("Hello")
    clock[0] = 501.0
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        assert core.llm.chat("Hello").text == first.text
    assert is_settled(core)
    assert len(scripted.requests) == 1


def test_so_many_at_a_time_and_the_rest_at_the_next_call(tmp_path: Path, clock: list[float]) -> None:
    cache = {"provider": "file", "ttl": 1000, "refresh": 0.5, "file": {"cache_dir": str(tmp_path)}}
    with Simulator() as upstream, llmcore.load(upstream_config(upstream, cache)) as core:
        questions = [f"Question {n}" for n in range(MAX_RUNNING + 8)]
        for question in questions:
            core.llm.chat(question)
        clock[0] = 600.0
        upstream.hold()
        for question in questions:
            assert core.llm.chat(question).cached
        upstream.wait_for(lambda: upstream.in_flight == MAX_RUNNING)
        assert upstream.in_flight == MAX_RUNNING
        upstream.release()
        wait_until(lambda: is_settled(core))
        for question in questions:
            core.llm.chat(question)
        wait_until(lambda: upstream.counts["chat"] == 2 * len(questions))


def test_a_forked_child_refreshes_replies_that_its_parent_refreshes(
    core: llmcore.Core, scripted: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    del scripted
    core.llm.chat("Hello")
    clock[0] = 501.0
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: None)
        core.llm.chat("Hello")
    assert not is_settled(core)
    child = os.fork()
    if not child:
        status = 1
        try:
            core.llm.chat("Hello")
            wait_until(lambda: core.llm.chat("Hello").text.startswith("answer 2"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_refresher_begins_nothing(core: llmcore.Core, scripted: Any, clock: list[float]) -> None:
    core.llm.chat("Hello")
    clock[0] = 501.0
    refresher: Refresher = core.llm._services.refresher
    refresher.close()
    core.llm.chat("Hello")
    assert refresher._attempts == {}
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("wrong", [0, 1, 1.5, -0.5, True, "0.8", float("nan")])
def test_a_refresh_outside_0_to_1_is_rejected(core: llmcore.Core, wrong: Any) -> None:
    with pytest.raises(BadRequest, match="cache_refresh=") as refused:
        core.llm.chat("Hello", cache_refresh=wrong)
    assert refused.value.expected == "between 0 and 1"
    with pytest.raises(ConfigError, match="`refresh` must be a number between 0 and 1"):
        llmcore.load({"cache": {"refresh": wrong}})


def test_a_refresh_without_a_ttl_is_rejected(scripted: Any, clock: list[float]) -> None:
    with llmcore.load({**CONFIG, "cache": {"provider": "memory", "ttl": "never", "refresh": 0.5}}) as core:
        core.llm.chat("Hello")
        clock[0] = 10.0**9
        assert core.llm.chat("Hello").cached, "the configured part of no time is never reached"
        with pytest.raises(BadRequest, match="but no TTL is set"):
            core.llm.chat("Hello", cache_refresh=0.5)
        assert core.llm.chat("Hello", cache_refresh=0.5, cache_ttl=60).cached
        assert len(scripted.requests) == 1


def test_the_configuration_turns_it_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert llmcore.load({"cache": {"refresh": "never"}}).settings.cache.refresh is None
    assert llmcore.load({}).settings.cache.refresh is None
    monkeypatch.setenv("LLMCORE__CACHE__REFRESH", "0.8")
    assert llmcore.load({"cache": {"refresh": "never"}}).settings.cache.refresh == 0.8
