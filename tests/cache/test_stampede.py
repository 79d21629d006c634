"""Two hundred identical cold calls are one request upstream: in threads, in tasks, in streams, in eight processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.types import Reply
from llmcore_testing import Simulator
from llmcore_testing.redis_server import RedisServer, find_redis_server

MANY = 200


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        simulator.hold()
        yield simulator


def make_config(upstream: Simulator, folder: Path) -> dict[str, Any]:
    return {
        "llm": {
            "provider": "openai",
            "model": "gpt-5.6-luna",
            "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
        },
        "cache": {"provider": "file", "file": {"cache_dir": str(folder)}},
    }


def release_when(upstream: Simulator, condition: Callable[[], bool]) -> None:
    upstream.wait_for_requests(1)
    while not condition():
        pass
    upstream.release()


def count_waiters(core: llmcore.Core) -> int:
    return sum(len(flight.callers) for flight in core.llm._services.flights._flights.values())


def test_threads(upstream: Simulator, tmp_path: Path) -> None:
    core = llmcore.load(make_config(upstream, tmp_path))
    with ThreadPoolExecutor(MANY) as pool:
        asked: list[Future[Reply]] = [pool.submit(core.llm.chat, "Hello") for _ in range(MANY)]
        release_when(upstream, lambda: count_waiters(core) == MANY)
        replies = [each.result(30) for each in asked]
    core.close()
    assert upstream.counts["chat"] == 1
    assert len({reply.text for reply in replies}) == 1
    assert sum(not reply.cached for reply in replies) == 1
    assert sum(reply.cost or 0 for reply in replies) == next(
        reply.cost for reply in replies if not reply.cached
    )


def test_tasks(upstream: Simulator, tmp_path: Path) -> None:
    core = llmcore.load(make_config(upstream, tmp_path))

    async def main() -> list[llmcore.types.Reply]:
        tasks = [asyncio.create_task(core.llm.achat("Hello")) for _ in range(MANY)]
        await asyncio.sleep(0)
        await asyncio.to_thread(release_when, upstream, lambda: count_waiters(core) == MANY)
        replies = await asyncio.gather(*tasks)
        await core.aclose()
        return replies

    replies = asyncio.run(main())
    assert upstream.counts["chat"] == 1
    assert len({reply.text for reply in replies}) == 1


def test_streams(upstream: Simulator, tmp_path: Path) -> None:
    core = llmcore.load(make_config(upstream, tmp_path))

    def read() -> str:
        return "".join(delta.text for delta in core.llm.stream("Hello"))

    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(read) for _ in range(50)]
        release_when(upstream, lambda: count_waiters(core) == 50)
        texts = {each.result(30) for each in asked}
    core.close()
    assert upstream.counts["streams"] == 1
    assert len(texts) == 1


def test_a_cancelled_leader_leaves_twenty_followers_their_answer(upstream: Simulator, tmp_path: Path) -> None:
    core = llmcore.load(make_config(upstream, tmp_path))

    async def main() -> list[llmcore.types.Reply]:
        leader = asyncio.create_task(core.llm.achat("Hello"))
        await asyncio.to_thread(upstream.wait_for_requests, 1)
        tasks = [asyncio.create_task(core.llm.achat("Hello")) for _ in range(20)]
        while count_waiters(core) != 21:  # noqa: ASYNC110 - a flight has no event for a new waiter
            await asyncio.sleep(0.001)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        upstream.release()
        replies = await asyncio.gather(*tasks)
        await core.aclose()
        return replies

    replies = asyncio.run(main())
    assert len({reply.text for reply in replies}) == 1
    assert upstream.counts["chat"] == 1


PROGRAM = """
import sys, llmcore
from concurrent.futures import ThreadPoolExecutor

with llmcore.load({config!r}) as core, ThreadPoolExecutor(25) as pool:
    print("ready", flush=True)
    sys.stdin.readline()
    asked = [pool.submit(core.llm.chat, "Hello") for _ in range(25)]
    print(*sorted({{each.result(60).text for each in asked}}), sep="|")
"""


def run_eight_processes(upstream: Simulator, settings: dict[str, Any]) -> set[str]:
    """Have 8 processes of 25 threads ask the same at once; return the answers."""
    command = [sys.executable, "-c", PROGRAM.format(config=settings)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        upstream.wait_for_requests(1)
        upstream.release()
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * 8
    return {output.strip() for output in outputs}


def test_eight_processes_on_one_file(tmp_path: Path) -> None:
    with Simulator(latency_s=0.5) as upstream:
        answers = run_eight_processes(upstream, make_config(upstream, tmp_path))
        assert upstream.counts["chat"] == 1
    assert len(answers) == 1


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
def test_eight_processes_on_one_redis(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, Simulator(latency_s=0.5) as upstream:
        settings = make_config(upstream, tmp_path)
        settings["cache"] = {
            "provider": "redis",
            "redis": {"url": server.url, "timeout": "5s", "connect_timeout": "5s"},
        }
        answers = run_eight_processes(upstream, settings)
        assert upstream.counts["chat"] == 1
    assert len(answers) == 1
