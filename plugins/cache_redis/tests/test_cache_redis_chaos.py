"""Random calls over TLS while connections are killed and handshakes are slow: only our errors, no wrong value, nothing left open."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import CacheError
from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.redis_server import redis_server_version
from tests.kits.redis_tls import DelayingProxy, TLSServer, redis_over_tls

pytestmark = [
    pytest.mark.skipif(
        redis_server_version() < (7,), reason="no redis-server of version 7 or newer, with TLS"
    ),
    pytest.mark.timeout(600),
]

CALLS = int(os.environ.get("LLMCORE_CANCELS", "1500"))
"""In each variant, about."""
DELAYS_S = (0.0, 0.0, 0.0, 0.0, 0.05, 0.3, 1.0)
"""Of connections; the last is more than a handshake may take."""
WORKERS = 8
WAVE = 24


class Chaos:
    """Makes the random calls, and notes what must not happen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.wrong: list[object] = []
        self.done = 0

    def call(self) -> tuple[Any, ...]:
        key = f"key {self.random.randrange(100)}"
        value = key.encode() * self.random.choice([1, 10, 10_000])
        return self.random.choice([
            ("get", key), ("get", key), ("get", key), ("set", key, value), ("set", key, value), ("delete", key),
            ("get_many", [key, "key 1", "key 2"]), ("acquire", key, "me", 1.0), ("release", key, "me"), ("unavailable",),
        ])  # fmt: skip

    def judge(self, call: tuple[Any, ...], result: Any) -> None:
        self.done += 1
        found = {call[1]: result} if call[0] == "get" and result else result if call[0] == "get_many" else {}
        for key, value in found.items():
            if value != key.encode() * (len(value) // len(key)):
                self.wrong.append((call, value[:50]))

    def block(self, cache: RedisCache, calls: int) -> None:
        for _ in range(calls):
            call = self.call()
            try:
                self.judge(call, getattr(cache, call[0])(*call[1:]))
            except CacheError:
                pass
            except BaseException as error:  # noqa: BLE001 - that is what must not happen
                self.wrong.append(error)

    async def wait(self, cache: RedisCache, call: tuple[Any, ...]) -> None:
        try:
            self.judge(call, await getattr(cache, f"a{call[0]}")(*call[1:]))
        except CacheError:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self.wrong.append(error)

    async def waves(self, cache: RedisCache, calls: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.wrong.append(context))
        for _ in range(calls // WAVE):
            tasks = [asyncio.create_task(self.wait(cache, self.call())) for _ in range(WAVE)]
            await asyncio.sleep(self.random.random() * 0.02)
            for task in self.random.sample(tasks, WAVE // 4):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TLSServer]:
    with redis_over_tls(tmp_path) as server:
        yield server


@pytest.mark.parametrize("most", [3, 64])
def test_nothing_foreign_wrong_or_left_open_comes_of_chaos(
    server: TLSServer, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chaos = Chaos(seed=most)
    monkeypatch.setattr(sys, "unraisablehook", lambda found: chaos.wrong.append(found.exc_value))
    with DelayingProxy(server.port, lambda _: chaos.random.choice(DELAYS_S)) as proxy:
        url = f"rediss://localhost:{proxy.port}/0"
        timeouts: dict[str, Any] = {"timeout": Duration(0.3), "connect_timeout": Duration(0.3)}
        cache = RedisCache(RedisOptions(url=url, max_connections=most, **timeouts, **server.options))
        cache.watch(lambda _: None)
        threads = [
            threading.Thread(target=chaos.block, args=(cache, CALLS // WORKERS)) for _ in range(WORKERS)
        ]
        threads += [
            threading.Thread(target=lambda: asyncio.run(chaos.waves(cache, CALLS // 2))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(chaos.random.random() / 2)
            server.plain.ask("CLIENT", "KILL", "TYPE", "normal")
        cache.close()
        end = time.monotonic() + 60
        while (there := _count_clients(server)) > 1 and time.monotonic() < end:
            time.sleep(0.05)
    assert chaos.wrong == []
    assert chaos.done > CALLS / 10, (
        "hardly any call was answered"
    )  # a busy machine exceeds many timeouts of 0.3 s
    assert there == 1, "connections are left behind"


def _count_clients(server: TLSServer) -> int:
    lines = server.plain.ask("INFO", "clients").splitlines()
    return int(next(line.partition(":")[2] for line in lines if line.startswith("connected_clients")))


def test_a_cache_that_is_closed_during_handshakes_leaves_nothing_open(
    server: TLSServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: wrong.append(found.exc_value))

    async def close_at_every_moment() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
        for moment in range(CALLS // 5):
            cache = RedisCache(RedisOptions(url=server.url, timeout=Duration(5), **server.options))
            callers = [asyncio.create_task(cache.aget("key")) for _ in range(6)]
            for _ in range(moment % 40):
                await asyncio.sleep(0)
            if moment % 3 == 0:
                await asyncio.sleep(random.random() / 100)  # noqa: S311 - no secret
            await cache.aclose()
            await asyncio.gather(*callers, return_exceptions=True)
            await cache.aclose()  # what callers opened that had not begun before

    asyncio.run(close_at_every_moment())
    gc.collect()
    assert wrong == []
