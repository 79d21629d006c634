"""Calls are answered during every failure of Redis, and Redis is used again afterwards.

The memory tier serves nothing during outages here, so that a hit is one of Redis; test_cache_outage_redis.py is about that.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import llmcore
from llmcore.types import Reply
from llmcore_testing.redis_server import (
    RedisServer,
    find_redis_server,
    redis_cluster,
    redis_server_version,
    redis_under_sentinels,
)
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
needs_seven = pytest.mark.skipif(
    redis_server_version() < (7,), reason="no redis-server of version 7 or newer"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def load_core(server: RedisServer | str, **options: Any) -> llmcore.Core:
    url = server if isinstance(server, str) else server.url
    redis = {"url": url, "timeout": "1s", "connect_timeout": "1s", **options}
    return llmcore.load({"cache": {"provider": "redis", "redis": redis, "on_outage": "miss"}})


def ask_once(core: llmcore.Core, text: str = "Hello") -> Reply:
    reply = core.llm.chat(text)
    assert reply.text == f"You said: {text}"
    return reply


def in_use(core: llmcore.Core) -> Callable[[], bool]:
    """Return a function that returns whether the second of two equal new questions is answered from the cache."""
    numbers = itertools.count()

    def is_used() -> bool:
        text = f"again {next(numbers)}"
        ask_once(core, text)
        return ask_once(core, text).cached

    return is_used


def test_all_is_well(server: RedisServer) -> None:
    with load_core(server) as core:
        assert not ask_once(core).cached
        assert ask_once(core).cached


def test_down_at_start(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.kill()
    with load_core(server) as core, caplog.at_level(logging.WARNING, "llmcore"):
        for _ in range(5):
            assert not ask_once(core).cached
        server.start()
        wait_until(in_use(core))
    lines = [record.getMessage() for record in caplog.records if "cache `redis`" in record.getMessage()]
    assert [line.split(":")[0] for line in lines] == [
        "cache `redis` fails, calls go on without it",
        "cache `redis` works again",
    ]


def test_killed_and_restarted(server: RedisServer) -> None:
    with load_core(server) as core:
        assert in_use(core)()
        server.kill()
        for number in range(5):
            ask_once(core, f"while it is down {number}")
        server.start()
        wait_until(in_use(core))


def test_hung(server: RedisServer) -> None:
    with load_core(server, timeout="50ms") as core:
        wait_until(in_use(core))
        server.pause()
        for number in range(5):
            ask_once(core, f"while it hangs {number}")
        assert core.cache.get_stats()["errors"] == 1
        server.resume()
        wait_until(in_use(core))


def test_wrong_password(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="right") as server:  # noqa: S106 - of a server that lives for this test
        with load_core(server, password="wrong") as core:  # noqa: S106 - as above
            for _ in range(3):
                assert not ask_once(core).cached
            assert core.cache.get_stats()["errors"] == 1
        with load_core(server, password="right") as core:  # noqa: S106 - as above
            assert in_use(core)()


def test_out_of_memory(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with load_core(server) as core:
        for number in range(5):
            assert not ask_once(core, f"{number}").cached
        server.ask("CONFIG", "SET", "maxmemory", "0")
        wait_until(in_use(core))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(": Redis refuses: the server is out of memory")[0] for line in lines] == [
        "cache `redis` fails at `acquire`, calls go on without it",
        "cache `redis` refuses to store a value, calls go on",
    ]


def test_a_read_only_replica(server: RedisServer, tmp_path: Path) -> None:
    folder = tmp_path / "replica"
    folder.mkdir()
    with RedisServer(folder) as replica:
        replica.ask("REPLICAOF", "127.0.0.1", str(server.port))
        with load_core(replica) as core:
            for number in range(5):
                assert not ask_once(core, f"{number}").cached


def test_flushed(server: RedisServer) -> None:
    with load_core(server) as core:
        ask_once(core)
        server.ask("FLUSHALL")
        wait_until(lambda: not ask_once(core).cached)
        assert in_use(core)()


def test_tasks_are_answered_during_outages(server: RedisServer) -> None:
    numbers = itertools.count()

    async def ask_twice(core: llmcore.Core) -> list[bool]:
        """Ask two new questions, each ten times at once and then again; return whether the last answers were cached."""
        texts = [f"question {next(numbers)}" for _ in range(2)]
        replies = await asyncio.gather(*(core.llm.achat(text) for text in texts * 10))
        assert {reply.text for reply in replies} == {f"You said: {text}" for text in texts}
        return [(await core.llm.achat(text)).cached for text in texts]

    async def main() -> None:
        async with asyncio.timeout(60), load_core(server, timeout="100ms", connect_timeout="100ms") as core:
            await wait_until_used(core)
            server.pause()
            assert await ask_twice(core) == [False, False]
            server.resume()
            await wait_until_used(core)
            server.kill()
            assert await ask_twice(core) == [False, False]
            server.start()
            await wait_until_used(core)
            server.ask("CLIENT", "KILL", "TYPE", "normal")
            await ask_twice(core)
            await wait_until_used(core)

    async def wait_until_used(core: llmcore.Core) -> None:
        while not all(await ask_twice(core)):  # noqa: ASYNC110 - what is waited for is how it answers
            await asyncio.sleep(0.01)

    asyncio.run(main())


@needs_seven
def test_a_failover_under_sentinels(tmp_path: Path) -> None:
    with redis_under_sentinels(tmp_path) as servers, load_core(servers.url) as core:
        wait_until(in_use(core))
        servers.master.kill()
        for number in range(20):
            ask_once(core, f"while there is no master {number}")
        wait_until(in_use(core))
        assert servers.replica.ask("ROLE")[0] == "master"
        assert servers.replica.ask("DBSIZE") > 0


@needs_seven
def test_a_failover_in_a_cluster(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        redis_cluster(tmp_path) as nodes,
        RedisServer(tmp_path, cluster_enabled="yes", cluster_node_timeout="2000") as replica,
        load_core(f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}") as core,
    ):
        replica.ask("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port))
        wait_until(lambda: "cluster_known_nodes:4" in replica.ask("CLUSTER", "INFO"))
        replica.ask("CLUSTER", "REPLICATE", nodes[0].ask("CLUSTER", "MYID"))
        wait_until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
        wait_until(lambda: all(" slave " in node.ask("CLUSTER", "NODES") for node in nodes))
        is_used = in_use(core)
        wait_until(lambda: all(is_used() for _ in range(10)))
        nodes[0].kill()
        for number in range(30):
            ask_once(core, f"while a third of the slots has no master {number}")
        wait_until(lambda: replica.ask("ROLE")[0] == "master")
        wait_until(lambda: all(is_used() for _ in range(10)))
        before = replica.ask("DBSIZE")
        wait_until(lambda: is_used() and replica.ask("DBSIZE") > before)
    assert len([record for record in caplog.records if "works again" in record.message]) == 1, "it flapped"


def test_another_machines_write_and_delete_are_seen(server: RedisServer) -> None:
    with load_core(server) as here, load_core(server) as there:
        here.cache.set("key", "old")
        wait_until(lambda: here.cache.get("key") == "old" and there.cache.get("key") == "old")
        there.cache.set("key", "new")
        wait_until(lambda: here.cache.get("key") == "new")
        there.cache.delete("key")
        wait_until(lambda: here.cache.get("key") is None)


POISON = {
    "garbage": b"\xff\x00garbage",
    "empty": b"",
    "another schema": b'{"text": 7}',
    "a pickle bomb": b"cos\nsystem\n(S'touch BOMB'\ntR.",
    "cut": None,
    "100 MB": b"x" * 100_000_000,
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
def test_a_poisoned_value_is_a_miss_that_is_written_over(server: RedisServer, poison: bytes | None) -> None:
    with load_core(server) as core:
        ask_once(core)
    with redis.Redis.from_url(server.url) as client:
        (name,) = [key for key in client.scan_iter() if b":r:" in key]
        client.set(name, (client.get(name) or b"")[:-10] if poison is None else poison)
    with load_core(server) as core:
        assert not ask_once(core).cached
        wait_until(lambda: ask_once(core).cached)
    assert not Path("BOMB").exists()


def test_a_value_of_the_wrong_type_is_a_miss(server: RedisServer) -> None:
    with load_core(server) as core:
        ask_once(core)
        (name,) = server.ask("KEYS", "*")
    server.ask("DEL", name)
    server.ask("LPUSH", name, "a list")
    with load_core(server) as core:
        assert not ask_once(core).cached
