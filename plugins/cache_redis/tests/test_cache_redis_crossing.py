"""No command gets the reply of another: after cancelled commands, after a fork, from another event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from llmcore.types import Duration
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.redis_server import RedisServer, find_redis_server

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def cache(url: str, **options: Any) -> RedisCache:
    return RedisCache(RedisOptions(url=url, timeout=Duration(3), connect_timeout=Duration(3), **options))


class Delaying:
    """A TCP proxy that delays each answer by a different time."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, late: bool) -> None:
            try:
                while data := await source.read(65536):
                    if late:
                        await asyncio.sleep(random.random() / 200)  # noqa: S311 - no secret
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pass_on(reader, back, late=False), pass_on(there, writer, late=True))


OPERATIONS = int(os.environ.get("LLMCORE_CANCELS", "1500"))


def test_no_reply_is_crossed_in_a_storm_of_cancelled_and_timed_out_commands(server: RedisServer) -> None:
    crossed: list[tuple[str, bytes | None]] = []
    done = cancelled = 0

    async def one(storm: RedisCache, key: str) -> None:
        found = await storm.aget(key)
        if found != key.encode():  # a miss too, because the check rejects the reply of another key
            crossed.append((key, found))

    async def all_of_them() -> None:
        nonlocal done, cancelled
        async with Delaying(server.port) as proxy:
            storm = cache(proxy.url, max_connections=8)
            keys = [f"key {i}" for i in range(50)]
            for key in keys:
                await storm.aset(key, key.encode())
            for start in range(0, OPERATIONS, 20):
                tasks = [asyncio.create_task(one(storm, keys[(start + i) % 50])) for i in range(20)]
                await asyncio.sleep(random.random() / 100)  # noqa: S311 - no secret
                for task in random.sample(tasks, 10):
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    cancelled += isinstance(result, asyncio.CancelledError)
                    done += result is None
                    assert result is None or isinstance(result, asyncio.CancelledError), result
            assert await storm.aget(keys[7]) == keys[7].encode()
            await storm.aclose()

    asyncio.run(all_of_them())
    assert crossed == []
    assert done
    assert cancelled, "nothing was cancelled: the storm tries nothing"


def test_a_forked_child_opens_its_own_connections(server: RedisServer) -> None:
    code = (
        "import os, sys\n"
        "from llmcore_cache_redis.plugin import RedisOptions\n"
        "from llmcore_cache_redis.provider import RedisCache\n"
        "cache = RedisCache(RedisOptions(url=sys.argv[1], timeout=3.0, connect_timeout=3.0))\n"
        "[cache.set(f'key {i}', b'%d' % i) for i in range(50)]\n"
        "child = os.fork()\n"
        "wrong = [i for i in range(50) for _ in range(20) if cache.get(f'key {i}') != b'%d' % i]\n"
        "if not child: os._exit(bool(wrong))\n"
        "assert not wrong and os.waitpid(child, 0)[1] == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, server.url], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_one_cache_serves_several_event_loops_and_threads(server: RedisServer) -> None:
    shared = cache(server.url)

    async def once() -> bytes | None:
        await shared.aset("key", b"value")
        try:
            return await shared.aget("key")
        finally:
            await shared.aclose()

    assert [asyncio.run(once()) for _ in range(3)] == [b"value"] * 3
    assert shared.get("key") == b"value"
    shared.close()


@pytest.mark.parametrize("by_hand", [False, True], ids=["ended_well", "closed_by_hand"])
def test_an_event_loop_that_ends_closes_its_connections(server: RedisServer, *, by_hand: bool) -> None:
    shared = cache(server.url)

    async def several() -> None:
        await asyncio.gather(*(shared.aget(f"key {n}") for n in range(5)))

    def use_pool() -> None:
        if not by_hand:
            asyncio.run(several())
            return
        loop = asyncio.new_event_loop()
        loop.run_until_complete(several())
        with warnings.catch_warnings():
            # Python warns about connections that are open when their loop is closed.
            warnings.simplefilter("ignore", ResourceWarning)
            loop.close()
            asyncio.run(shared.aget("key"))
            gc.collect()

    for _ in range(5):  # of five connections each
        use_pool()
    end = time.monotonic() + 60
    while (there := _count_clients(server)) > 6 and time.monotonic() < end:
        time.sleep(0.01)
    assert there <= 6, "connections are left behind"
    shared.close()


def _count_clients(server: RedisServer) -> int:
    lines = server.ask("INFO", "clients").splitlines()
    return int(next(line.partition(":")[2] for line in lines if line.startswith("connected_clients")))
