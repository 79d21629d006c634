"""Shared rate limits through a Core: threads, tasks and processes, killed owners, and a Redis that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmcore
from llmcore.calls.drivers import arun, run
from llmcore.calls.shared_backend import make_shared_limits
from llmcore.errors import ConfigError, RateLimited
from llmcore.support.limit_values import LimitScope, PermitAnswer, PermitRequest
from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.limits import check_windows
from tests.kits.shared_limits import ECHO, PATIENCE, chat_together, make_config, open_limits, patient
from tests.kits.waiting import await_until, wait_until

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.ask("FLUSHALL")


def test_two_cores_share_a_rate(server: RedisServer) -> None:
    config = make_config(server.url, requests_per_minute=1200)  # 20 at once, then 20 a second
    with llmcore.load(config) as one, llmcore.load(config) as two:
        assert chat_together([one, two], 15) >= 0.45
    assert server.ask("ZCARD", "llmcore:default:rate:{echo}:processes") == 0


def test_tasks_share_a_rate_with_another_core(server: RedisServer) -> None:
    config = make_config(server.url, requests_per_minute=1200)

    async def chat_in_loop(core: llmcore.Core) -> None:
        async with core:
            await asyncio.gather(*(core.llm.achat(f"call {n}", cache=False) for n in range(15)))

    began = time.monotonic()
    threads = [
        threading.Thread(target=lambda: asyncio.run(chat_in_loop(llmcore.load(config)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began >= 0.45


def test_the_namespace_of_the_cache_does_not_divide_a_limit(server: RedisServer) -> None:
    config = make_config(server.url, requests_per_minute=60)
    config["limits"]["shared"] = "redis"
    config["cache"] = {
        "provider": "memory",
        "namespace": "one",
        "redis": {"url": server.url, "namespace": "two", "limit_timeout": PATIENCE},
    }
    with llmcore.load(config) as core:
        core.llm.chat("first", cache=False)
        assert server.ask("EXISTS", "llmcore:default:rate:{echo}:state") == 1
        config["limits"]["shared"] = {"namespace": "other"}
        with llmcore.load(config) as other:
            other.llm.chat("first", cache=False)
        assert server.ask("EXISTS", "llmcore:other:rate:{echo}:state") == 1


def test_a_call_that_would_wait_past_its_deadline_fails_at_once(server: RedisServer) -> None:
    with open_limits(server.url, requests_per_minute=1) as limits:
        run(limits.acquire(*ECHO, 0, patient))
        with pytest.raises(
            RateLimited, match=r"`echo:echo` is in (60\.0|5\d\.\d) s, but the deadline"
        ) as caught:
            run(limits.acquire(*ECHO, 0, lambda: 20.0))
        assert caught.value.retry_after is not None
        assert 30 < caught.value.retry_after <= 60
        assert server.ask("ZCARD", "llmcore:default:rate:{echo}:queue") == 0


def test_unused_tokens_are_given_back_to_another_process(server: RedisServer) -> None:
    with (
        open_limits(server.url, tokens_per_minute=600) as one,
        open_limits(server.url, tokens_per_minute=600) as two,
    ):
        permit = run(one.acquire(*ECHO, 20_000, patient))  # half an hour
        with pytest.raises(RateLimited):
            run(two.acquire(*ECHO, 10, patient))
        one.release(permit, 5)

        def is_granted() -> bool:
            with contextlib.suppress(RateLimited):
                run(two.acquire(*ECHO, 10, patient))
                return True
            return False

        wait_until(is_granted)


def test_slots_are_shared_and_become_free_for_another_process(server: RedisServer) -> None:
    with open_limits(server.url, concurrency=2) as one, open_limits(server.url, concurrency=2) as two:
        held = [run(limits.acquire(*ECHO, 0, patient)) for limits in (one, two)]
        with pytest.raises(RateLimited, match="is not free yet"):
            run(one.acquire(*ECHO, 0, lambda: 0.0))
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(run(one.acquire(*ECHO, 0, patient))))
        thread.start()
        wait_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:queue") == 1)
        two.release(held[1], None)
        thread.join()
        assert len(got) == 1
        assert server.ask("ZCARD", "llmcore:default:rate:{echo}:slots") == 2
        for permit in (held[0], got[0]):
            one.release(permit, None)
        wait_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:slots") == 0)


def test_a_cancelled_task_leaves_the_queue_of_the_server(server: RedisServer) -> None:
    async def main() -> None:
        with open_limits(server.url, requests_per_minute=1) as limits:
            await arun(limits.acquire(*ECHO, 0, patient))
            waiting = asyncio.ensure_future(arun(limits.acquire(*ECHO, 0, lambda: 600.0)))
            await await_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:queue") == 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await await_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:queue") == 0)

    asyncio.run(main())


def test_the_slots_of_a_call_in_progress_are_renewed(server: RedisServer) -> None:
    config = make_config(server.url, concurrency=1)
    config["limits"]["shared"]["lease"] = "100ms"

    def read_end() -> float:
        found = server.ask("ZRANGE", "llmcore:default:rate:{echo}:slots", "0", "0", "WITHSCORES")
        return float(found[1]) if found else 0.0

    core = llmcore.load(config)
    limits = make_shared_limits(core.settings, core.catalogue)
    permit = run(limits.acquire(*ECHO, 0, patient))
    first = read_end()
    wait_until(lambda: read_end() > first)
    limits.release(permit, None)
    wait_until(lambda: read_end() == 0)
    run(limits.shut_down())


PROGRAM = """
import json, sys, time
from llmcore.support.limit_values import LimitScope, PermitRequest
from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache

url, name, scope, calls, tokens, lease, hold = json.loads(sys.argv[1])
cache = RedisCache(RedisOptions(url=url, limit_timeout=Duration(60)))
scopes = (LimitScope(*scope),)
for number in range(calls):
    arrived = 0
    while True:
        request = PermitRequest(f"{name}:{number}", "openai", scopes, tokens, 600.0, lease, arrived)
        answer = cache.request_permit(request, 60)
        if answer.granted:
            break
        arrived = answer.arrived
        time.sleep(answer.pause_s)
    print(answer.ticket, flush=True)
if hold:
    sys.stdin.read()
"""


def start_process(
    url: str,
    name: str,
    scope: tuple[Any, ...],
    *,
    calls: int,
    tokens: int = 0,
    lease: float = 20.0,
    hold: bool = False,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps([url, name, scope, calls, tokens, lease, hold])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_never_exceed_a_rate_together(server: RedisServer) -> None:
    scope = ("openai", 3000, 60_000)  # 50 requests and 1,000 tokens a second
    processes = [start_process(server.url, f"p{n}", scope, calls=40, tokens=10 + n) for n in range(3)]
    tickets = [
        (int(line) / 1e6, 10 + number)
        for number, process in enumerate(processes)
        for line in process.communicate(timeout=110)[0].split()
    ]
    assert len(tickets) == 120
    check_windows([(at, 1) for at, _ in tickets], 50.0, 50.001)
    check_windows([(at, tokens) for at, tokens in tickets], 1000.0, 1000.01)


def test_the_slot_of_a_killed_process_becomes_free(server: RedisServer) -> None:
    scope = ("openai", None, None, 1)
    with start_process(server.url, "owner", scope, calls=1, lease=2.0, hold=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline()
        os.kill(owner.pid, signal.SIGKILL)
        cache = RedisCache(RedisOptions(url=server.url, limit_timeout=Duration(60)))

        answer = PermitAnswer(granted=False)
        while not answer.granted:
            answer = cache.request_permit(
                PermitRequest("heir", "openai", (LimitScope(*scope),), 0, 600.0, 20.0, answer.arrived), 60
            )
            time.sleep(answer.pause_s)
        cache.close()


def test_a_process_knows_how_many_share_the_limits(server: RedisServer) -> None:
    with open_limits(server.url, concurrency=9) as one, open_limits(server.url, concurrency=9) as two:
        for limits in (one, two):
            run(limits.acquire(*ECHO, 0, patient))

        def has_counted() -> bool:
            one._reporter.wake()
            return one._count("echo") == 2

        wait_until(has_counted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_permits_of_its_own(server: RedisServer) -> None:
    with open_limits(server.url, concurrency=2) as limits:
        permit = run(limits.acquire(*ECHO, 0, patient))
        pid = os.fork()
        if pid == 0:
            try:
                limits.release(permit, None)  # it belongs to the parent
                run(limits.acquire(*ECHO, 0, patient))
                # A thread of an earlier test may still report its process.
                wait_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:processes") >= 2)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        assert server.ask("ZCARD", "llmcore:default:rate:{echo}:slots") == 2
        limits.release(permit, None)
        wait_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:slots") == 1)


def catch_error(make: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make()
    return caught.value


def test_a_cache_that_cannot_share_limits_is_refused() -> None:
    with llmcore.load({"limits": {"shared": "memory", "requests_per_minute": 60}}) as core:
        error = catch_error(lambda: core.llm.chat("hello", cache=False))
        assert "must be a cache that can share rate limits, got `memory`" in error.message
        assert error.suggestion == "redis"
