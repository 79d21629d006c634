"""Shared rate limits while Redis is down, hangs, or is restarted: no call fails, and each process uses its share."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import llmcore
from llmcore.calls import shared_limits
from llmcore.calls.drivers import arun, run
from llmcore.calls.shared_backend import make_shared_limits
from llmcore.calls.shared_limits import _call
from llmcore.errors import CacheError, RateLimited
from llmcore.support.limit_values import LimitScope, PermitRequest, ProcessReport
from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing import TcpProxy
from llmcore_testing.redis_server import RedisServer, find_redis_server
from tests.kits.shared_limits import ECHO, chat_together, make_config, open_limits, patient
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.ask("FLUSHALL")


def count_logs(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("kind", ["refuse", "hold"])
def test_without_redis_no_call_fails_and_each_outage_is_logged_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.INFO, "llmcore")
    with TcpProxy(server.url) as proxy:
        config = make_config(f"redis://{proxy.address}", requests_per_minute=120_000, concurrency=100)
        config["limits"]["shared"]["limit_timeout"] = "1s"
        with llmcore.load(config) as core:
            core.llm.chat("first", cache=False)
            limits: Any = core._limits
            getattr(proxy, kind)()
            chat_together([core], 6)
            wait_until(lambda: limits._share is not None)
            chat_together([core], 6)
            # A machine that stops for a moment makes an outage of its own.
            assert count_logs(caplog, "are not shared") == count_logs(caplog, "are shared again") + 1
            proxy.heal()
            wait_until(lambda: count_logs(caplog, "are not shared") == count_logs(caplog, "are shared again"))
            chat_together([core], 6)


def test_a_call_that_has_no_time_makes_no_outage(server: RedisServer) -> None:
    with (
        TcpProxy(server.url) as proxy,
        open_limits(f"redis://{proxy.address}", requests_per_minute=60) as limits,
    ):
        proxy.hold()
        with pytest.raises(RateLimited, match="is not free yet"):
            run(limits.acquire(*ECHO, 0, lambda: 0.0))

        async def ask() -> None:
            await arun(limits.acquire(*ECHO, 0, lambda: 0.0))

        with pytest.raises(RateLimited, match="is not free yet"):
            asyncio.run(ask())
        assert limits._share is None
        proxy.heal()


def test_the_share_of_a_process_is_a_part_of_the_rate(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path_factory.mktemp("gone")) as gone:
        url = gone.url
    config = make_config(url, requests_per_minute=4800)  # 80 a second, of which this process may use 8
    config["limits"]["shared"]["processes"] = 10
    with llmcore.load(config) as core:
        assert (
            chat_together([core], 20) >= 1.4
        )  # a share begins with an empty bucket: 12 calls wait for the rate
    assert count_logs(caplog, "this process uses 1/10 of each limit") == 1


def test_a_restarted_redis_is_used_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        RedisServer(tmp_path_factory.mktemp("restarted")) as server,
        open_limits(server.url, requests_per_minute=60) as limits,
    ):
        run(limits.acquire(*ECHO, 0, patient))
        server.kill()
        server.start()
        run(limits.acquire(*ECHO, 0, patient))
        limits._reporter.wake()
        wait_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:processes") == 1)
        assert limits._share is None


def test_slots_that_a_restarted_redis_has_lost_are_not_granted_again(server: RedisServer) -> None:
    """The leases are long, so that no process reports by itself."""
    slots = "llmcore:default:rate:{echo}:slots"
    with open_limits(server.url, concurrency=2) as ours, open_limits(server.url, concurrency=2) as theirs:
        held = run(ours.acquire(*ECHO, 0, patient))
        wait_until(lambda: ours._counts == {"echo": 1})
        theirs.release(run(theirs.acquire(*ECHO, 0, patient)), None)
        wait_until(lambda: theirs._counts == {"echo": 2} and server.ask("ZCARD", slots) == 1)
        other = run(ours.acquire(*ECHO, 0, patient))
        server.ask("FLUSHALL")  # what a restart without data does, and the connections stay
        granted: list[Any] = []
        thread = threading.Thread(target=lambda: granted.append(run(theirs.acquire(*ECHO, 0, patient))))
        thread.start()
        wait_until(lambda: server.ask("ZCARD", "llmcore:default:rate:{echo}:processes") == 1)
        assert not granted
        ours._reporter.wake()
        wait_until(lambda: server.ask("ZCARD", slots) == 2)
        assert not granted
        ours.release(held, None)
        thread.join()
        for limits, permit in ((ours, other), (theirs, granted[0])):
            limits.release(permit, None)


def test_a_process_that_redis_forgot_before_an_outage_reports_no_lost_data(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost data would keep slots from all processes for the length of a lease."""
    monkeypatch.setattr(shared_limits, "_IDLE_S", 0.0)  # a process without calls does not report
    with TcpProxy(server.url) as proxy:
        config = make_config(f"redis://{proxy.address}", concurrency=2)
        config["limits"]["shared"]["lease"] = "1s"
        core = llmcore.load(config)
        limits = make_shared_limits(core.settings, core.catalogue)
        held = run(limits.acquire(*ECHO, 0, patient))
        limits._reporter.start()  # the first report may have come before the slot
        limits._reporter.wake()
        wait_until(lambda: limits._counts == {"echo": 1})
        limits.release(held, None)
        wait_until(lambda: limits._reporter._thread is None)
        wait_until(lambda: time.monotonic() > limits._known_until["echo"])
        proxy.refuse()
        held = run(limits.acquire(*ECHO, 0, patient))
        assert held.share is not None
        proxy.heal()
        wait_until(lambda: limits._share is None)
        assert not server.ask("EXISTS", "llmcore:default:rate:{echo}:missing")
        limits.release(held, None)
        run(limits.shut_down())


@pytest.mark.parametrize("left_s", [60.0, 1e6])
def test_calls_that_wait_for_a_share_ask_redis_when_it_is_back(server: RedisServer, left_s: float) -> None:
    with TcpProxy(server.url) as proxy:
        config = make_config(f"redis://{proxy.address}", requests_per_minute=60)
        config["limits"]["shared"]["processes"] = 1000  # a share of a call in 17 minutes
        core = llmcore.load(config)
        limits = make_shared_limits(core.settings, core.catalogue)
        proxy.refuse()
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(run(limits.acquire(*ECHO, 0, lambda: left_s))))
        thread.start()
        wait_until(lambda: limits._share is not None)
        proxy.heal()
        thread.join()
        assert got[0].ticket
        run(limits.shut_down())


def test_redis_learns_afterwards_what_was_used_without_it(server: RedisServer) -> None:
    with (
        TcpProxy(server.url) as proxy,
        open_limits(f"redis://{proxy.address}", tokens_per_minute=600) as limits,
    ):
        run(limits.acquire(*ECHO, 1, patient))
        proxy.refuse()
        run(limits.acquire(*ECHO, 20_000, patient))  # half an hour
        assert limits._share is not None
        proxy.heal()
        wait_until(lambda: limits._share is None)
        with pytest.raises(RateLimited):
            run(limits.acquire(*ECHO, 10, patient))


def test_the_share_of_each_provider_is_divided_by_its_own_processes(server: RedisServer) -> None:
    with (
        TcpProxy(server.url) as proxy,
        open_limits(f"redis://{proxy.address}", requests_per_minute=1) as limits,
    ):
        for number in range(9):
            report = ProcessReport(f"other {number}", "echo", (), 600.0)
            assert run(_call(limits._backend, "report_process", report)) == number + 1
        for provider in ("echo", "lonely"):
            run(limits.acquire(provider, "echo", 0, patient))
        limits._reporter.wake()
        wait_until(lambda: limits._counts == {"echo": 10, "lonely": 1})
        proxy.refuse()
        limits._reporter.wake()
        wait_until(lambda: limits._share is not None)
        waits = {}
        for provider in ("echo", "lonely"):
            with pytest.raises(RateLimited) as caught:
                run(limits.acquire(provider, "echo", 0, lambda: 0.0))
            waits[provider] = caught.value.retry_after or 0.0
        assert waits["echo"] > 240 > waits["lonely"], "ten processes use one provider, and one the other"


def test_slots_that_a_share_granted_are_known_to_redis_afterwards(server: RedisServer) -> None:
    slots = "llmcore:default:rate:{echo}:slots"
    with TcpProxy(server.url) as proxy, open_limits(f"redis://{proxy.address}", concurrency=2) as limits:
        proxy.refuse()
        permit = run(limits.acquire(*ECHO, 0, patient))
        assert permit.share is not None
        proxy.heal()
        wait_until(lambda: server.ask("ZCARD", slots) == 1)
        limits.release(permit, None)
        wait_until(lambda: server.ask("ZCARD", slots) == 0)


def test_calls_in_flight_use_a_share_after_close(server: RedisServer) -> None:
    with TcpProxy(server.url) as proxy, open_limits(f"redis://{proxy.address}", concurrency=2) as limits:
        run(limits.acquire(*ECHO, 0, patient))
        run(limits.shut_down())
        proxy.refuse()
        assert run(limits.acquire(*ECHO, 0, patient)).share is not None


def test_a_name_that_is_looked_up_for_long_does_not_hold_up_a_call(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved, plain = threading.Event(), socket.getaddrinfo

    def resolve(host: Any, *args: Any, **named: Any) -> Any:
        if host != "slow.test" or named.get("flags"):
            return plain(host, *args, **named)
        resolved.wait()
        return plain("127.0.0.1", *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = server.url.replace("127.0.0.1", "slow.test")
    cache = RedisCache(RedisOptions(url=url, limit_timeout=Duration(60), connect_timeout=Duration(60)))
    request = PermitRequest("p:1", "named", (LimitScope("named", 60.0),), 0, 60.0, 60.0)
    try:
        with pytest.raises(CacheError, match=r"slow\.test"):
            cache.request_permit(request, 60)
    finally:
        resolved.set()
    wait_until(lambda: is_granted(cache, request))
    cache.close()


def is_granted(cache: RedisCache, request: PermitRequest) -> bool:
    try:
        return cache.request_permit(request, 60).granted
    except CacheError:
        return False
