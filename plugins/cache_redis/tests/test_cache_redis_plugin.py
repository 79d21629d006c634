"""The plugin's light module, its options and addresses, TLS, a Cluster that moves, and secrets that show nowhere."""

from __future__ import annotations

import asyncio
import logging
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.contracts import (
    AsyncCacheProvider,
    AsyncCacheRateLimits,
    CacheBatches,
    CacheChanges,
    CacheKeys,
    CacheLeases,
    CacheMatching,
    CacheProvider,
    CacheRateLimits,
)
from llmcore.errors import CacheError, ConfigError
from llmcore.hookspecs import API_VERSION
from llmcore.types import Duration, Secret
from llmcore_cache_redis import plugin
from llmcore_cache_redis.address import Address, parse
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.provider import RedisCache
from llmcore_testing.redis_server import (
    RedisServer,
    find_redis_server,
    redis_cluster,
    redis_server_version,
)

needs_server = pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
needs_seven = pytest.mark.skipif(
    redis_server_version() < (7,), reason="no redis-server of version 7 or newer"
)


def cache(url: str, **options: Any) -> RedisCache:
    return RedisCache(RedisOptions(url=url, timeout=Duration(3), connect_timeout=Duration(3), **options))


def test_the_plugin_offers_redis_with_its_options() -> None:
    assert plugin.LLMCORE_API == API_VERSION
    (entry,) = plugin.llmcore_cache_providers()
    assert entry.name == "redis"
    options: Any = msgspec.convert({"url": "redis://h"}, entry.options)
    made = entry.create(options)
    assert isinstance(made, RedisCache)
    for protocol in (CacheProvider, AsyncCacheProvider, CacheKeys, CacheBatches, CacheMatching, CacheLeases, CacheChanges, CacheRateLimits, AsyncCacheRateLimits):  # fmt: skip
        assert isinstance(made, protocol)
    made.close()


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "db", "user", "password", "tls"),
    [
        ("redis://localhost:6379/0", "standalone", ["localhost:6379"], 0, None, None, False),
        ("REDIS://h", "standalone", ["h:6379"], 0, None, None, False),
        ("redis://:p%40ss@h:1/2", "standalone", ["h:1"], 2, None, "p@ss", False),
        ("rediss://me:pw@[::1]:7/3", "standalone", ["[::1]:7"], 3, "me", "pw", True),
        ("redis://h/?db=4", "standalone", ["h:6379"], 4, None, None, False),
        ("unix:///run/redis.sock?db=5", "standalone", ["/run/redis.sock"], 5, None, None, False),
        ("unix://:pw@/run/redis.sock", "standalone", ["/run/redis.sock"], 0, None, "pw", False),
        ("redis+sentinel://a:1,b:2,c/main/6", "sentinel", ["a:1", "b:2", "c:26379"], 6, None, None, False),
        ("redis+cluster://a:1,b:2", "cluster", ["a:1", "b:2"], 0, None, None, False),
        ("rediss://:pw@a?cluster=true", "cluster", ["a:6379"], 0, None, "pw", True),
    ],
)  # fmt: skip
def test_addresses_are_read(  # noqa: PLR0917 - columns
    url: str,
    kind: str,
    nodes: list[str],
    db: int,
    user: str | None,
    password: str | None,
    tls: bool,  # noqa: FBT001 - a column
) -> None:
    target = parse(RedisOptions(url=url))
    assert (target.kind, [str(node) for node in target.nodes], target.db) == (kind, nodes, db)
    assert (target.username, target.tls) == (user, tls)
    assert target.password == (Secret(password) if password else None)
    assert "pw" not in target.shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://:canary@h", "an unknown scheme"),
        ("rdis://:canary@h", "an unknown scheme"),
        ("canary", "an unknown scheme"),
        ("10.0.0.7:6379", "'10.0.0.7:6379' has no scheme"),
        ("cache.internal/2", "'cache.internal/2' has no scheme"),
        ("redis://:can/ary@h:1", "port"),
        ("redis://:canary@h:99999", "port"),
        ("redis://:canary@h\u200b:1", "U+200B ZERO WIDTH SPACE at index 1"),
        ("redis://:canary@h h:1", "U+0020 SPACE"),
        ("redis://:canary@h:x", "port"),
        ("redis://:canary@[h", "brackets"),
        ("redis://:canary@", "names no server"),
        ("redis://:canary@h/x", "number of a database"),
        ("redis://:canary@h/0/1", "number of a database"),
        ("redis://:canary@h/0?timeout=1", "unknown parameters"),
        ("redis://:can#ary@h", "parameters after"),
        ("redis+sentinel://:canary@h:1", "which master"),
        ("redis+cluster://:canary@h/1", "only the database 0"),
    ],
)
def test_an_address_that_cannot_be_read_shows_no_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisCache(RedisOptions(url=url))
    text = "".join(traceback.format_exception(caught.value))
    assert said in text
    assert "canary" not in text.replace("RedisOptions(url=url)", "")
    assert "ary" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "tls_timeout", "max_connections"])
def test_limits_must_be_greater_than_0(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        RedisCache(msgspec.convert({name: 0}, RedisOptions, dec_hook=lambda kind, value: kind(value)))


@pytest.mark.parametrize("namespace", ["", "n" * 65])
def test_a_namespace_has_bounds(namespace: str) -> None:
    with pytest.raises(ConfigError, match="namespace"):
        RedisCache(RedisOptions(namespace=namespace))


@needs_server
def test_a_password_shows_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RedisServer(tmp_path, password="canary") as server:  # noqa: S106 - of this server
        made = cache(server.url)
        made.set("key", b"value")
        assert asyncio.run(_get_all(made)) == b"value"
        assert made.get("key") == b"value"
        assert [pool for pool in made._blocking._pools.values() if pool._idle]
        shown = [repr(made), str(vars(made)), repr(RedisOptions(url=server.url)), repr(vars(made._blocking))]
        shown += [repr(link._connection) for pool in made._blocking._pools.values() for link in pool._idle]
        shown += [
            str(vars(link._connection)) for pool in made._blocking._pools.values() for link in pool._idle
        ]
        shown += list(server.ask("KEYS", "*"))
        server.kill()
        with pytest.raises(CacheError) as caught:
            made.get("key")
        report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown += ["".join(report.format()), caplog.text]
        made.close()
    assert [text for text in shown if "canary" in text] == []


async def _get_all(made: RedisCache) -> bytes | None:
    found = await made.aget("key")
    await made.aclose()
    return found


@needs_seven
def test_slots_that_move_are_followed(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as nodes:
        made = cache(f"redis+cluster://127.0.0.1:{nodes[0].port}")
        keys = [f"key {i}" for i in range(60)]
        for key in keys:
            made.set(key, key.encode())
        assert made.get_many(keys) == {key: key.encode() for key in keys}
        slot = str(nodes[0].ask("CLUSTER", "KEYSLOT", "llmcore:default:v1:key 1"))
        ids = [node.ask("CLUSTER", "MYID") for node in nodes]
        owner = next(i for i, node in enumerate(nodes) if node.ask("CLUSTER", "COUNTKEYSINSLOT", slot))
        other = (owner + 1) % 3
        nodes[other].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
        nodes[owner].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[other])
        for name in nodes[owner].ask("CLUSTER", "GETKEYSINSLOT", slot, "100"):
            nodes[owner].ask("MIGRATE", "127.0.0.1", str(nodes[other].port), name, "0", "5000")
        assert made.get("key 1") == b"key 1", "ASK is followed"
        made.set("key 1", b"new")
        for node in (nodes[other], nodes[owner], nodes[3 - owner - other]):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[other])
        assert made.get("key 1") == b"new", "MOVED is followed"
        assert made.get_many(["key 1", "key 2"]) == {"key 1": b"new", "key 2": b"key 2"}
        nodes[owner].pause()
        impatient = RedisCache(RedisOptions(url=f"redis+cluster://127.0.0.1:{nodes[other].port}"))
        assert impatient.get("key 1") == b"new", "what other nodes hold is had"
        nodes[owner].resume()
        made.clear()
        assert sum(node.ask("DBSIZE") for node in nodes) == 0
        for one in (made, impatient):
            one.close()


def test_errors_show_the_address_as_written() -> None:
    assert [str(Address("h", 1)), str(Address("::1", 1)), str(Address("/s", 0))] == ["h:1", "[::1]:1", "/s"]
