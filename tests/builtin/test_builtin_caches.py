"""The built-in caches pass the conformance kit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.builtin.options import FileOptions, MemoryOptions
from llmcore.errors import CacheError
from llmcore.types import Size
from llmcore_testing.conformance import CacheConformance


class TestMemoryCache(CacheConformance):
    lacks = ("acquire", "version", "watch", "unavailable", "twin", "broken", "denied", "restricted", "canary")

    @pytest.fixture
    def provider(self) -> MemoryCache:
        return MemoryCache()

    @pytest.fixture
    def sibling(self) -> MemoryCache:
        return MemoryCache()


class TestFrequencyCache(TestMemoryCache):
    @pytest.fixture
    def provider(self) -> MemoryCache:
        return MemoryCache(MemoryOptions(eviction="lfu"))


class TestFileCache(CacheConformance):
    lacks = ("watch", "unavailable", "broken", "denied", "restricted", "canary")

    @pytest.fixture
    def provider(self, tmp_path: Path) -> FileCache:
        return FileCache(FileOptions(cache_dir=tmp_path / "cache", namespace="one"))

    @pytest.fixture
    def sibling(self, tmp_path: Path) -> FileCache:
        return FileCache(FileOptions(cache_dir=tmp_path / "cache", namespace="on"))

    @pytest.fixture
    def twin(self, tmp_path: Path) -> FileCache:
        return FileCache(FileOptions(cache_dir=tmp_path / "cache", namespace="one", eviction="lfu"))


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_memory_cache_expires_by_its_clock_to_the_fraction(clock: Clock) -> None:
    cache = MemoryCache(clock=clock)
    cache.set("key", b"value", 0.001)
    clock.now += 0.0009
    assert cache.get("key") == b"value"
    clock.now += 0.0002
    assert cache.get("key") is None
    assert cache.size_bytes == 0, "an expired entry that was looked up is removed"


def test_the_memory_cache_stays_within_its_size_and_evicts_the_least_recently_used() -> None:
    cache = MemoryCache(MemoryOptions(max_size=Size(100_000)))
    for i in range(200):
        cache.set(f"key{i}", b"x" * 1000)
        cache.get("key0")
        assert cache.size_bytes <= 100_000
    kept = [i for i in range(200) if cache.get(f"key{i}") is not None]
    assert kept[0] == 0, "what is used stays"
    assert kept[1:] == list(range(201 - len(kept), 200)), "the others go in the order of their use"
    assert len(kept) > 70
    cache.clear()
    assert cache.size_bytes == 0


def test_a_value_larger_than_the_memory_cache_is_refused_and_no_entry_is_lost() -> None:
    cache = MemoryCache(MemoryOptions(max_size=Size(10_000)))
    cache.set("small", b"1")
    with pytest.raises(CacheError, match="is too large for a memory cache of 10,000 bytes"):
        cache.set("large", b"x" * 10_000)
    assert cache.get("small") == b"1"


def test_the_memory_cache_updates_its_size_when_values_are_replaced() -> None:
    cache = MemoryCache()
    for size in (10, 1000, 0, 500):
        cache.set("key", b"x" * size)
    cache.set("other", b"", 0.5)
    cache.delete("other")
    cache.delete("key")
    assert cache.size_bytes == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_has_a_separate_memory_cache() -> None:
    cache = MemoryCache()
    cache.set("key", b"of before")
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        cache.set("key", b"of the child")
        os._exit(0 if cache.get("key") == b"of the child" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert cache.get("key") == b"of before"
