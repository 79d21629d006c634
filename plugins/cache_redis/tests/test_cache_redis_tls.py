"""Redis over TLS: client certificates, many callers of a new process, handshakes that are slow, and connections that end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmcore.errors import CacheUnavailable
from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing import CacheConformance
from llmcore_testing.conformance import Conformance
from llmcore_testing.redis_server import redis_server_version
from tests.kits.redis_tls import DelayingProxy, TLSServer, redis_over_tls
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.skipif(
    redis_server_version() < (7,), reason="no redis-server of version 7 or newer, with TLS"
)

CALLERS = 32
HANDSHAKES = 4
"""As many as a process makes at once with one server."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSServer]:
    with redis_over_tls(tmp_path_factory.mktemp("redis")) as server:
        yield server


def cache(server: TLSServer, url: str | None = None, **options: Any) -> RedisCache:
    """Return a new cache with the default deadlines for connections, and a long one for commands."""
    given = {"url": url or server.url, "timeout": Duration(5), **server.options, **options}
    return RedisCache(RedisOptions(**given))


def make_url(proxy: DelayingProxy) -> str:
    return f"rediss://localhost:{proxy.port}/0"


class TestOverTLS(CacheConformance):
    lacks = ("version", "broken", "denied", "restricted", "canary")

    @pytest.fixture
    def provider(self, server: TLSServer) -> RedisCache:
        server.plain.ask("FLUSHALL")
        return cache(server, connect_timeout=Duration(5), tls_timeout=Duration(5))

    @pytest.fixture
    def sibling(self, server: TLSServer) -> RedisCache:
        return cache(server, namespace="sibling", connect_timeout=Duration(5), tls_timeout=Duration(5))

    @pytest.fixture
    def twin(self, server: TLSServer) -> RedisCache:
        return cache(server, tls_timeout=Duration(2))


class TestHandshakes(Conformance):
    kind: ClassVar[str] = "cache"
    must: ClassVar[tuple[str, ...]] = ("get", "set", "delete", "clear")

    @pytest.fixture
    def provider(self, server: TLSServer) -> RedisCache:
        made = cache(server)
        for i in range(CALLERS):
            made.set(f"stored {i}", b"value")
        made.close()
        return made

    @pytest.mark.parametrize("slow", [{0}, {1, 3}], ids=["the_first", "two"])
    def test_a_slow_handshake_is_not_a_failing_server(self, server: TLSServer, slow: set[int]) -> None:
        with DelayingProxy(server.port, lambda number: 30.0 if number in slow else 0.0) as proxy:
            other = self.another(cache(server, make_url(proxy)))
            found = other.together([("get", f"stored {i}") for i in range(CALLERS)], errors=True)
            other.close()
        assert found == [b"value"] * CALLERS

    def test_handshakes_at_once_are_bounded_and_fail_together(self, server: TLSServer) -> None:
        with DelayingProxy(server.port, lambda _: 30.0) as proxy:
            other = self.another(cache(server, make_url(proxy), timeout=Duration(0.3)))
            found = other.together([("get", f"stored {i}") for i in range(CALLERS)], errors=True)
            other.close()
            assert {type(error) for error in found} == {CacheUnavailable}
            assert {"did not finish the TLS handshake in time" in str(error) for error in found} == {True}
            assert proxy.accepted == HANDSHAKES

    def test_a_slow_server_is_used_again_when_it_is_fast(self, server: TLSServer) -> None:
        with DelayingProxy(server.port, lambda number: 30.0 if number < HANDSHAKES else 0.0) as proxy:
            other = self.another(cache(server, make_url(proxy)))
            for _ in range(HANDSHAKES):
                with pytest.raises(CacheUnavailable, match="TLS handshake"):
                    other.call("get", "stored 1")
            assert other.call("get", "stored 1") == b"value"
            other.close()

    def test_a_slow_handshake_fails_no_caller_while_another_is_running(self, server: TLSServer) -> None:
        def delay(number: int) -> float:
            return 3.0 if number else 30.0

        with DelayingProxy(server.port, delay) as proxy:
            other = self.another(cache(server, make_url(proxy), tls_timeout=Duration(4)))
            timer = threading.Timer(1.5, other.provider.get, ["stored 1"])
            if other.variant == "sync":
                timer.start()
                assert other.call("get", "stored 0") == b"value"
                timer.join()
            else:
                assert other.run(_get_staggered(other.provider)) == [b"value"] * 2
            other.close()

    def test_commands_get_more_time_during_handshakes_which_keep_the_server_busy(
        self, tmp_path: Path
    ) -> None:
        def delay(number: int) -> float:
            if number:
                return 60.0
            wait_until(lambda: proxy.accepted >= HANDSHAKES)
            return 0.0

        with redis_over_tls(tmp_path) as server, DelayingProxy(server.port, delay) as proxy:
            limits = {"timeout": Duration(0.3), "tls_timeout": Duration(30)}
            other = self.another(cache(server, make_url(proxy), **limits))

            def ask(key: str) -> None:
                with suppress(CacheUnavailable):  # some of the threads make the connections that are slow
                    other.provider.get(key)

            threads = []
            if other.variant == "async":
                other.together([("get", f"key {i}") for i in range(CALLERS)])
            else:
                threads = [threading.Thread(target=ask, args=(f"key {i}",)) for i in range(CALLERS)]
            for thread in threads:
                thread.start()
            wait_until(lambda: other.call("get", "nothing") is None)
            server.plain.pause()
            timer = threading.Timer(1.0, server.plain.resume)
            timer.start()
            found = other.call("get", "stored")
            timer.join()
            assert found is None
            proxy.close()
            for thread in threads:
                thread.join()
            other.close()

    def test_connections_close_without_waiting_for_the_end_of_tls(self, tmp_path: Path) -> None:
        with redis_over_tls(tmp_path) as server:
            self.call("get", "nothing")
            before = _count_open_files()
            other = self.another(cache(server))
            other.together([("set", f"key {i}", b"value") for i in range(CALLERS)])
            assert _count_open_files() > before
            server.plain.pause()
            other.close()
            if self.caller.variant == "async":
                self.caller.run(asyncio.sleep(0))
            assert _count_open_files() == before, "closing waits for the server"
            server.plain.resume()

    def test_a_restart_is_not_an_error(self, tmp_path: Path) -> None:
        with redis_over_tls(tmp_path) as server:
            other = self.another(cache(server))
            other.together([("set", f"key {i}", b"value") for i in range(CALLERS)])
            server.plain.kill()
            server.plain.start()
            found = other.together([("get", f"key {i}") for i in range(CALLERS)], errors=True)
            assert found == [None] * CALLERS
            other.close()


def _count_open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def _get_staggered(made: RedisCache) -> list[bytes | None]:
    async def late() -> bytes | None:
        await asyncio.sleep(1.5)
        return await made.aget("stored 1")

    return list(await asyncio.gather(made.aget("stored 0"), late()))


def test_a_cancelled_caller_does_not_end_the_handshake_that_others_wait_for(server: TLSServer) -> None:
    async def cancel_the_first() -> int:
        with DelayingProxy(server.port, lambda _: 0.2) as proxy:
            made = cache(server, make_url(proxy))
            callers = [asyncio.create_task(made.aget("nothing")) for _ in range(HANDSHAKES + 1)]
            await asyncio.sleep(0.05)
            for caller in callers[:HANDSHAKES]:
                caller.cancel()
            assert await callers[-1] is None
            await made.aclose()
            return proxy.accepted

    assert asyncio.run(cancel_the_first()) == HANDSHAKES


NEW_PROCESS = """
import asyncio, sys, threading
import llmcore

how, url, ca, certificate, key = sys.argv[1:]
files = {"tls_ca_file": ca, "tls_cert_file": certificate, "tls_key_file": key}
settings = {"cache": {"provider": "redis", "redis": {"url": url, "timeout": 5, **files}}, "llm": {"provider": "echo"}}
prompts = [f"Say {n}" for n in range(32)]
replies = []


def ask(prompt):
    start.wait()
    replies.append(core.llm.chat(prompt))


async def ask_all():
    replies.extend(await asyncio.gather(*map(core.llm.achat, prompts)))


with llmcore.load(settings) as core:
    if how == "tasks":
        asyncio.run(ask_all())
    else:
        start = threading.Barrier(len(prompts))
        threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
print(sum(reply.cached for reply in replies), "of", len(replies))
"""


def test_a_new_process_pays_for_nothing_that_is_stored(
    server: TLSServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    server.plain.ask("FLUSHALL")

    def ask(how: str) -> str:
        files = server.certificates
        arguments = [how, server.url, str(files.ca), str(files.client), str(files.client_key)]
        done = subprocess.run(
            [sys.executable, "-c", NEW_PROCESS, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.strip()

    assert ask("threads") == "0 of 32"
    assert [ask("threads"), ask("tasks")] == ["32 of 32"] * 2
