"""The memory tier survives a miss: a change drops the keys that it concerns, in this and in every other process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmcore
from llmcore.builtin.file_cache import FileCache
from llmcore.builtin.options import FileOptions
from llmcore.cache import CacheManager
from llmcore.contracts import CacheHistory

KEYS = 50


class CountingFileCache(FileCache):
    """Counts what is read from the disk."""

    reads = 0
    versions = 0

    def get(self, key: str) -> bytes | None:
        CountingFileCache.reads += 1
        return super().get(key)

    def version(self) -> int:
        CountingFileCache.versions += 1
        return super().version()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> type[CountingFileCache]:
    import llmcore.builtin.file_cache as module

    monkeypatch.setattr(module, "FileCache", CountingFileCache)
    CountingFileCache.reads = CountingFileCache.versions = 0
    return CountingFileCache


def write_elsewhere(folder: Path, program: str) -> None:
    """Run *program* in another process, with a cache on the same folder."""
    code = f"from llmcore.cache import CacheManager\ncache = CacheManager('file', {str(folder)!r})\n{program}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def warm(cache: CacheManager) -> None:
    for number in range(KEYS):
        cache.set(f"key {number}", number)
        assert cache.get(f"key {number}") == number


def read_all(cache: CacheManager) -> None:
    for number in range(KEYS):
        assert cache.get(f"key {number}") == number


def test_a_miss_reads_the_version_once(reads: type[CountingFileCache], tmp_path: Path) -> None:
    with CacheManager("file", tmp_path) as cache:
        warm(cache)
        before = reads.versions
        assert cache.get("absent") is None
        assert reads.versions == before + 1


def test_a_value_that_another_process_writes_drops_that_key_only(
    reads: type[CountingFileCache], tmp_path: Path
) -> None:
    cache = CacheManager("file", tmp_path)
    warm(cache)
    read_all(cache)
    before = reads.reads
    write_elsewhere(tmp_path, "cache.set('key 7', 'new'); cache.set('another', 1)")
    for number in range(KEYS):
        assert cache.get(f"key {number}") == ("new" if number == 7 else number)
    assert reads.reads == before + 1


@pytest.mark.parametrize("change", ["cache.clear()", "cache.invalidate('key *')"])
def test_a_value_removed_by_another_process_is_a_miss(tmp_path: Path, change: str) -> None:
    cache = CacheManager("file", tmp_path)
    warm(cache)
    write_elsewhere(tmp_path, change)
    assert [cache.get(f"key {number}") for number in range(KEYS)] == [None] * KEYS


def test_misses_of_a_core_leave_its_warm_answers_in_memory(
    reads: type[CountingFileCache], scripted: Any, tmp_path: Path
) -> None:
    del scripted
    config = {
        "llm": {"provider": "scripted"},
        "cache": {"provider": "file", "file": {"cache_dir": str(tmp_path)}},
        "ledger": {"enabled": False},
    }
    with llmcore.load(config) as core, llmcore.load(config) as other:
        for number in range(10):
            core.llm.chat(f"warm {number}")
            assert core.llm.chat(f"warm {number}").cached
            assert other.llm.chat(f"warm {number}").cached
        before = reads.reads
        for miss in range(20):
            core.llm.chat(f"miss {miss}")  # a lease, a value, a release
            between = reads.reads
            for number in range(10):
                assert core.llm.chat(f"warm {number}").cached
                assert other.llm.chat(f"warm {number}").cached
            assert reads.reads == between
        assert reads.reads > before  # the misses themselves


def test_a_reader_that_missed_too_many_changes_drops_everything(tmp_path: Path) -> None:
    cache = CacheManager("file", tmp_path)
    warm(cache)
    write_elsewhere(tmp_path, "for number in range(500): cache.set(f'key {number % 50}', number)")
    assert [cache.get(f"key {number}") for number in range(KEYS)] == list(range(450, 500))


@given(
    st.lists(st.tuples(st.sampled_from(["set", "delete", "clear", "lease"]), st.integers(0, 9)), max_size=60)
)
@settings(max_examples=60, deadline=None)
def test_the_history_names_every_key_that_changed(steps: list[tuple[str, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        cache = FileCache(FileOptions(cache_dir=Path(folder)))
        assert isinstance(cache, CacheHistory)
        for number in range(10):
            cache.set(f"key {number}", b"old")
        start = cache.version()
        changed: set[str] | None = set()
        for what, number in steps:
            key = f"key {number}"
            if what == "set":
                cache.set(key, b"new")
            elif what == "delete":
                cache.delete(key)
            elif what == "clear":
                cache.clear()
                changed = None
            else:
                cache.acquire(key, "holder", 5)
                cache.release(key, "holder")
            if changed is not None and what in {"set", "delete"}:
                changed.add(key)
        now, keys = cache.changes_since(start)
        assert now == cache.version()
        assert keys is None or (changed is not None and changed <= set(keys) | {"nothing"})
        if changed is not None:
            assert keys is not None
            assert set(keys) <= {f"key {number}" for number in range(10)}
        assert cache.changes_since(now) == (now, [])
        cache.close()
