"""Tags: forgotten together, in every process, and never found again when a stamp is lost."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache import CacheManager
from llmcore.errors import CacheError


@pytest.fixture(params=["memory", "file", "file without memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        manager = CacheManager(backend="memory")
    else:
        memory = "64MB" if request.param == "file" else 0
        manager = CacheManager(backend="file", cache_dir=str(tmp_path), memory=memory)
    with manager:
        yield manager


def test_invalidating_a_tag_removes_only_its_values(cache: CacheManager) -> None:
    cache.set("a", 1, tags=["user:1"])
    cache.set("b", 2, tags=["user:1", "user:2"])
    cache.set("c", 3, tags="user:2")
    cache.set("d", 4)
    assert cache.get_many("abcd") == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert cache.invalidate(tags="user:1") == -1
    assert cache.get_many("abcd") == {"c": 3, "d": 4}
    cache.set("a", 5, tags="user:1")
    assert cache.get("a") == 5


def test_a_forgotten_value_is_counted_as_a_miss(cache: CacheManager) -> None:
    cache.set("a", 1, tags="t")
    cache.invalidate(tags="t")
    assert cache.get("a") is None
    assert (cache.get_stats()["hits"], cache.get_stats()["misses"]) == (0, 1)


def test_a_lost_stamp_makes_its_values_misses_for_ever(cache: CacheManager) -> None:
    cache.set("a", 1, tags="t")
    assert cache._store.backend.provider.delete("t:t")
    assert cache.get("a") is None
    cache.set("b", 2, tags="t")  # which makes another stamp
    assert (cache.get("a"), cache.get("b")) == (None, 2)


def test_a_value_computed_before_its_tag_was_invalidated_is_not_cached(cache: CacheManager) -> None:
    source = {1: "old"}

    @cache.cached(tags="rows")
    def read(row: int) -> str:
        value = source[row]
        if value == "old":  # somebody writes while this is being read
            source[row] = "new"
            cache.invalidate(tags="rows")
        return value

    assert [read(1), read(1), read(1)] == ["old", "new", "new"]


def test_after_a_tag_was_invalidated_there_is_one_run_again_among_all_processes(tmp_path: Path) -> None:
    turns = itertools.count(1)
    caches = [CacheManager(backend="file", cache_dir=str(tmp_path)) for _ in range(2)]
    running, gate = threading.Event(), threading.Event()

    def slow() -> int:
        turn = next(turns)
        running.set()
        assert turn == 1 or gate.wait(60)
        return turn

    one, other = (cache.cached(name="slow", tags="t")(slow) for cache in caches)
    assert [one(), other()] == [1, 1]
    caches[0].invalidate(tags="t")
    running.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(one)
        assert running.wait(60)
        second = pool.submit(other)
        end = time.monotonic() + 60
        while caches[1].get_stats()["misses"] < 1:
            assert time.monotonic() < end
        threading.Event().wait(0.1)  # long enough for the second to run it too, were it not kept from it
        gate.set()
        assert [first.result(), second.result()] == [2, 2]
    for cache in caches:
        cache.close()


def test_tags_of_a_function_come_from_its_arguments(cache: CacheManager) -> None:
    calls: list[int] = []

    @cache.cached(tags=lambda user, **_: [f"user:{user}", "users"])
    def profile(user: int, *, full: bool = False) -> str:
        calls.append(user)
        return f"{user} {full}"

    for _ in range(2):
        profile(1), profile(2), profile(1, full=True)
    assert calls == [1, 2, 1]
    cache.invalidate(tags="user:1")
    profile(1), profile(2)
    assert calls == [1, 2, 1, 1]
    asyncio.run(cache.ainvalidate(tags=["users"]))
    profile(1), profile(2)
    assert calls == [1, 2, 1, 1, 1, 2]


def test_another_process_sees_the_invalidation(tmp_path: Path) -> None:
    code = (
        "import sys; from llmcore.cache import CacheManager\n"
        "with CacheManager(backend='file', cache_dir=sys.argv[1]) as cache: cache.invalidate(tags='t')"
    )
    with CacheManager(backend="file", cache_dir=str(tmp_path)) as cache:
        cache.set("a", 1, tags="t")
        assert cache.get("a") == 1
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert cache.get("a") is None


@pytest.mark.parametrize("tags", ["", [""], [7]])
def test_an_invalid_tag_is_rejected(cache: CacheManager, tags: Any) -> None:
    with pytest.raises(CacheError, match="a tag must be text"):
        cache.set("a", 1, tags=tags)
    with pytest.raises(CacheError, match="a tag must be text"):
        cache.cached(tags=tags)(lambda: 1)
