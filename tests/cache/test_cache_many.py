"""get_many() sends one request, for keys that the memory tier does not have, sync and async; every failure is a miss."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmcore.builtin.memory_cache import MemoryCache
from llmcore.cache import CacheManager
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend
from llmcore.errors import CacheError, CacheUnavailable
from llmcore.hookspecs import Options, Provider
from llmcore_testing.redis_server import RedisServer, find_redis_server

GetMany = Callable[[CacheManager, Iterable[str]], dict[str, Any]]


class Batching:
    """A third-party cache that records its calls. It has a version, so that a memory tier can be used."""

    def __init__(self) -> None:
        self.kept = MemoryCache()
        self.asked: list[tuple[str, Any]] = []
        self.error: Exception | None = None
        self.answer: Any = None
        self.writes = 0

    def get(self, key: str) -> bytes | None:
        self._ask("get", key)
        return self.kept.get(key)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        self.writes += 1
        self.kept.set(key, value, ttl)

    def delete(self, key: str) -> bool:
        self.writes += 1
        return self.kept.delete(key)

    def clear(self) -> None:
        self.writes += 1
        self.kept.clear()

    def get_many(self, keys: Sequence[str]) -> Any:
        self._ask("get_many", list(keys))
        return self.kept.get_many(keys) if self.answer is None else self.answer

    def version(self) -> int:
        return self.writes

    def _ask(self, what: str, keys: Any) -> None:
        self.asked.append((what, keys))
        if self.error is not None:
            raise self.error


class OneByOne(Batching):
    """Has no way to get many."""

    get_many = None  # type: ignore[assignment]


class NoOptions:
    def read_options(self, kind: str, provider: Provider) -> object:
        del kind, provider
        return Options()


def make_cache(provider: object, *, memory: int = 0) -> CacheManager:
    entry = Provider(name="batching", create=lambda _: provider)
    return CacheManager(store=CacheStore(Backend("cache", entry, NoOptions()), memory=memory))


@pytest.fixture
def backend() -> Batching:
    return Batching()


@pytest.fixture(params=["sync", "async"])
def get_many(request: pytest.FixtureRequest) -> Iterator[GetMany]:
    if request.param == "sync":
        yield lambda cache, keys: cache.get_many(keys)
        return
    yield lambda cache, keys: asyncio.run(cache.aget_many(keys))
    with warnings.catch_warnings():  # each loop took its connection with it
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def get_counts(cache: CacheManager) -> tuple[float, float, float]:
    stats = cache.get_stats()
    return stats["hits"], stats["misses"], stats["errors"]


def test_the_backend_is_asked_once_and_each_key_is_counted(backend: Batching, get_many: GetMany) -> None:
    cache = make_cache(backend)
    cache.set_many({"a": 1, "b": None, "c": [3]})
    assert get_many(cache, ["c", "nothing", "a", "b", "a"]) == {"c": [3], "a": 1, "b": None}
    assert list(get_many(cache, iter(["c", "a"]))) == ["c", "a"], "in the order of the keys"
    assert backend.asked == [
        ("get_many", ["v:c", "v:nothing", "v:a", "v:b"]),
        ("get_many", ["v:c", "v:a"]),
    ]
    assert get_counts(cache) == (5, 1, 0)
    assert get_many(cache, []) == {}
    assert len(backend.asked) == 2


def test_only_keys_missing_in_the_memory_tier_are_requested(backend: Batching, get_many: GetMany) -> None:
    cache = make_cache(backend, memory=10**6)
    cache.set_many({"a": 1, "b": 2, "c": 3})
    cache.delete("c")
    backend.kept.set(
        "v:d", backend.kept.get("v:a") or b""
    )  # another process's, of which it tells by its version
    backend.writes += 1
    assert get_many(cache, "abd") == {"a": 1, "b": 2, "d": 1}
    assert backend.asked == [("get_many", ["v:a", "v:b", "v:d"])]
    assert get_many(cache, "abcd") == {"a": 1, "b": 2, "d": 1}
    assert backend.asked[1:] == [("get", "v:c")], "a single key uses get"
    assert get_many(cache, "abd") == {"a": 1, "b": 2, "d": 1}
    assert len(backend.asked) == 2
    assert get_counts(cache) == (9, 1, 0)


def test_a_backend_that_fails_gives_misses_for_the_keys_that_the_tier_lacks(
    backend: Batching, get_many: GetMany
) -> None:
    cache = make_cache(backend, memory=10**6)
    cache.set("a", 1)
    backend.error = CacheError("no")
    assert get_many(cache, "abc") == {"a": 1}
    assert get_counts(cache) == (1, 2, 3)


def test_a_backend_that_is_unreachable_is_called_once(backend: Batching, get_many: GetMany) -> None:
    cache = make_cache(backend)
    backend.error = CacheUnavailable("no server")
    assert get_many(cache, "abc") == {}
    assert [name for name, _ in backend.asked] == ["get_many"]


def test_a_refused_get_many_is_replaced_by_single_reads(
    get_many: GetMany, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(Batching):
        def get_many(self, keys: Sequence[str]) -> Any:
            del keys
            raise CacheError("the user has no permission for `mget`")

    cache = make_cache(Refusing())
    cache.set_many({"a": 1, "b": 2})
    for _ in range(2):
        assert get_many(cache, "abc") == {"a": 1, "b": 2}
    assert get_counts(cache) == (4, 2, 2)
    assert [record.getMessage() for record in caplog.records] == [
        "cache `batching` fails at `get_many`, calls go on without it: the user has no permission for `mget`"
    ]


@pytest.mark.parametrize("answer", [[], "v:a", 7, {"v:a": "text"}, {"v:a": 7, "v:b": None}, {"v:a": b"x"}])
def test_a_none_from_the_backend_is_a_miss(backend: Batching, get_many: GetMany, answer: Any) -> None:
    cache = make_cache(backend)
    cache.set_many({"a": 1, "b": 2})
    backend.answer = answer
    assert get_many(cache, "ab") == {}
    assert get_counts(cache)[:2] == (0, 2)


def test_values_that_were_not_requested_are_ignored(backend: Batching, get_many: GetMany) -> None:
    cache = make_cache(backend)
    cache.set_many({"a": 1, "b": 2, "c": 3})
    backend.answer = backend.kept.get_many(["v:a", "v:b", "v:c"])
    assert get_many(cache, "ab") == {"a": 1, "b": 2}


def test_a_damaged_value_is_counted_as_a_miss(backend: Batching, get_many: GetMany) -> None:
    cache = make_cache(backend)
    cache.set_many({"a": 1, "b": 2})
    backend.kept.set("v:a", (backend.kept.get("v:a") or b"") + b"\xc1")
    assert get_many(cache, "ab") == {"b": 2}
    assert get_counts(cache) == (1, 1, 0)


def test_the_tags_of_all_of_them_are_looked_at_in_one_go(backend: Batching, get_many: GetMany) -> None:
    cache = make_cache(backend)
    for n in range(20):
        cache.set(f"{n}", n, tags=[f"tag {n % 5}", "all"])
    cache.invalidate(tags="tag 3")
    backend.asked.clear()
    assert get_many(cache, map(str, range(20))) == {f"{n}": n for n in range(20) if n % 5 != 3}
    assert [what for what, _ in backend.asked] == ["get_many", "get_many"]
    assert get_counts(cache) == (16, 4, 0)


def test_a_backend_without_the_ability_is_asked_one_by_one_until_it_fails(get_many: GetMany) -> None:
    backend = OneByOne()
    cache = make_cache(backend)
    cache.set_many({"a": 1, "b": 2})
    assert get_many(cache, "abc") == {"a": 1, "b": 2}
    assert backend.asked == [("get", "v:a"), ("get", "v:b"), ("get", "v:c")]
    backend.error = CacheError("no")
    assert get_many(cache, map(str, range(50))) == {}
    assert len(backend.asked) <= 3 + 3, "the breaker must stop requests to a failing backend"
    assert get_counts(cache)[:2] == (2, 51)
    cache.close()


def test_a_file_is_read_in_one_transaction(tmp_path: Path, get_many: GetMany) -> None:
    with CacheManager(backend="file", cache_dir=str(tmp_path), memory=0) as cache:
        wanted = {f"key {n}": n for n in range(5000)} | {"x" * 390 + str(n): n for n in range(3)}
        cache.set_many(wanted)
        cache.set("brief", 1, ttl=0.01)
        assert get_many(cache, [*wanted, "nothing"]) == wanted


@pytest.mark.skipif(find_redis_server() is None, reason="no redis-server")
def test_redis_is_asked_in_few_exchanges(tmp_path: Path, get_many: GetMany) -> None:
    with (
        RedisServer(tmp_path) as server,
        CacheManager(backend="redis", url=server.url, timeout=5, connect_timeout=5, memory=0) as cache,
    ):
        wanted = {f"key {n}": n for n in range(60)}
        cache.set_many(wanted)
        assert get_many(cache, ["key 1"]) == {"key 1": 1}  # connected
        before = _count_reads(server)
        assert get_many(cache, wanted) == wanted
        assert _count_reads(server) - before < 20, "60 keys are not 60 exchanges"


def _count_reads(server: RedisServer) -> int:
    """Return how often the server has read from its connections."""
    lines = server.ask("INFO", "stats").splitlines()
    return int(next(line.partition(":")[2] for line in lines if line.startswith("total_reads_processed")))
