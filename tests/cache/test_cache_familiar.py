"""CacheManager and get_cache as existing code calls them: positional arguments, attributes and the default ttl."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import llmcore
from llmcore.cache import CacheManager, get_cache


def test_backend_and_folder_are_the_positional_arguments(tmp_path: Path) -> None:
    with CacheManager("file", str(tmp_path / "deep" / "cache")) as cache:
        assert cache.backend == "file"
        assert cache.cache_dir == tmp_path / "deep" / "cache"
        assert cache.cache_dir.is_dir(), "it is there before the first use, as existing code expects"
        assert cache.set("key", 1)
    assert any((tmp_path / "deep" / "cache").iterdir())
    with CacheManager("file", tmp_path / "path") as cache:
        assert cache.cache_dir == tmp_path / "path"


def test_a_relative_folder_counts_from_the_working_directory() -> None:
    with CacheManager("file", "./cache") as cache:
        assert cache.set("key", 1)
        assert cache.cache_dir is not None
        assert cache.cache_dir.samefile(Path.cwd() / "cache")


def test_without_a_folder_it_is_the_users(empty_home: Path) -> None:
    with CacheManager() as cache:
        assert (cache.backend, cache.cache_dir) == ("file", empty_home / "cache" / "llmcore")
        assert (empty_home / "cache" / "llmcore").is_dir()


def test_a_cache_without_files_ignores_the_folder(tmp_path: Path) -> None:
    with CacheManager("memory", str(tmp_path / "cache")) as cache:
        assert (cache.backend, cache.cache_dir) == ("memory", tmp_path / "cache")
        assert not (tmp_path / "cache").exists()
    with CacheManager("memory") as cache:
        assert cache.cache_dir is None


def _wait_for_none(found: Callable[[], object]) -> bool:
    """Wait up to ten seconds until *found* returns None; return whether it did."""
    end = time.monotonic() + 60
    while found() is not None:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_set_and_cached_default_to_the_ttl_of_the_cache() -> None:
    with CacheManager("memory", ttl="50ms") as cache:

        @cache.cached()
        def one() -> int:
            return 1

        @cache.cached(ttl="1h")
        def two() -> int:
            return 2

        cache.set("default", one())
        cache.set("own", two(), ttl="1h")
        assert _wait_for_none(lambda: cache.get("default"))
        assert _wait_for_none(lambda: cache.get(one.cache_key()))
        assert (cache.get("own"), cache.get(two.cache_key())) == (2, 2)


def test_the_cache_of_a_core_keeps_the_configured_ttl() -> None:
    with llmcore.load({"cache": {"provider": "memory", "ttl": "50ms"}}) as core:
        core.cache.set("default", 1)
        core.cache.set("own", 2, ttl="1h")
        assert _wait_for_none(lambda: core.cache.get("default"))
        assert core.cache.get("own") == 2
        assert (core.cache.backend, core.cache.cache_dir) == ("memory", None)


def test_the_first_call_of_get_cache_decides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = get_cache("file", str(tmp_path / "first"))
    assert (first.backend, first.cache_dir) == ("file", tmp_path / "first")
    with caplog.at_level(logging.WARNING):
        assert get_cache() is first
        assert get_cache("file") is first
        assert get_cache(cache_dir=str(tmp_path / "first")) is first
        assert not caplog.records
        assert get_cache("memory") is first
        assert get_cache("file", str(tmp_path / "other")) is first
    assert len(caplog.records) == 2
    assert "of its first call" in caplog.text


def test_get_cache_without_arguments_is_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMCORE__CACHE__PROVIDER", "memory")
    assert get_cache().backend == "memory"
    assert get_cache(cache_dir="./elsewhere").backend == "memory", "the first call decided"


def test_a_folder_alone_means_files(tmp_path: Path) -> None:
    assert get_cache(cache_dir=tmp_path / "files").backend == "file"
    assert get_cache().cache_dir == tmp_path / "files"


def test_the_signatures_are_those_of_existing_code() -> None:
    parameters = inspect.signature(CacheManager).parameters
    assert list(parameters)[:3] == ["backend", "cache_dir", "ttl"]
    assert parameters["backend"].default == "file"
    assert parameters["cache_dir"].default is None
    assert parameters["ttl"].default == 3600
    assert parameters["ttl"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(get_cache).parameters) == ["backend", "cache_dir"]
