"""A misspelt keyword of a public function names the nearest one; everything else is Python's own TypeError."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore import CacheManager
from llmcore.calls.argument_names import check_argument_names
from llmcore.core import Core
from llmcore.errors import LLMCoreError, UnknownArgument
from llmcore.storage.client import StorageClient

load: Any = llmcore.load
get_cache: Any = llmcore.get_cache


def open_core() -> Any:
    return llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"}})


def open_storage(folder: Path) -> Any:
    return llmcore.load({"storage": {"provider": "fs", "fs": {"root": str(folder)}}}).storage


CALLS: list[tuple[Callable[[Any, Any], Any], str, str, str]] = [
    (lambda cache, _: cache.cached(tll=60), "cached(tll=...)", "ttl", "cached(ttl=60)"),
    (lambda cache, _: cache.invalidate(tag="a"), "invalidate(tag=...)", "tags", "invalidate(tags='a')"),
    (lambda cache, _: asyncio.run(cache.ainvalidate(tag="a")), "ainvalidate(tag=...)", "tags", "ainvalidate(tags='a')"),
    (lambda cache, _: cache.set("a", 1, tl=5), "set(tl=...)", "ttl", "set('a', 1, ttl=5)"),
    (lambda cache, _: asyncio.run(cache.aset("a", 1, tl=5)), "aset(tl=...)", "ttl", "aset('a', 1, ttl=5)"),
    (lambda _, core: core.usage.by("day", sinc="7d"), "by(sinc=...)", "since", "by('day', since='7d')"),
    (lambda _, core: asyncio.run(core.usage.aby("day", sinc="7d")), "aby(sinc=...)", "since", "aby('day', since='7d')"),
    (lambda _, core: list(core.usage.export(sinc="7d")), "export(sinc=...)", "since", "export(since='7d')"),
    (lambda _, __: load({}, profil="prod"), "load(profil=...)", "profile", "load(..., profile='prod')"),
    (lambda _, __: get_cache("memory", cach_dir="x"), "get_cache(cach_dir=...)", "cache_dir", "get_cache('memory', cache_dir='x')"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "where", "near", "fix"), CALLS, ids=[row[1] for row in CALLS])
def test_a_misspelt_keyword_names_the_nearest_one(
    call: Callable[[Any, Any], Any], where: str, near: str, fix: str
) -> None:
    with open_core() as core, pytest.raises(UnknownArgument) as caught:
        call(CacheManager("memory"), core)
    error = caught.value
    assert isinstance(error, TypeError)
    assert (error.code, error.where, error.suggestion, error.fix) == ("LC310", where, near, fix)
    assert near in (error.expected or "").split(", ")
    assert "self" not in (error.expected or "").split(", ")
    assert error.__cause__ is None
    assert error.__context__ is None


def test_files_are_listed_with_the_right_keyword(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    with pytest.raises(UnknownArgument, match="did you mean `prefix`"):
        storage.list_files(prefx="a")
    with pytest.raises(UnknownArgument, match="did you mean `limit`"):
        storage.glob("*", limt=3)


def test_a_keyword_that_is_like_no_other_is_left_out() -> None:
    cache: Any = CacheManager("memory")
    with pytest.raises(UnknownArgument) as caught:
        cache.invalidate(zzzz=object())
    assert (caught.value.suggestion, caught.value.fix) == (None, "invalidate(...) without zzzz=")


def test_a_long_value_is_not_repeated() -> None:
    with pytest.raises(UnknownArgument) as caught:
        load({}, profil="x" * 200)
    assert caught.value.fix == "load(..., profile=...)"


def test_other_type_errors_are_those_of_python() -> None:
    cache: Any = CacheManager("memory")
    with pytest.raises(TypeError, match="missing 1 required positional argument") as caught:
        cache.set("a")
    assert not isinstance(caught.value, LLMCoreError)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        asyncio.run(cache.aset("a"))

    @check_argument_names
    def fail(text: str) -> None:
        raise TypeError(text)

    with pytest.raises(TypeError, match="of the function itself") as caught:
        fail(text="of the function itself")
    assert not isinstance(caught.value, LLMCoreError)


@pytest.mark.parametrize(
    "method", [CacheManager.set, CacheManager.cached, Core.__init__, StorageClient.list_files]
)
def test_the_signature_stays_that_of_the_function(method: Callable[..., Any]) -> None:
    assert "self" in inspect.signature(method).parameters
    assert "named" not in inspect.signature(method).parameters


def test_asynchronous_methods_stay_coroutine_functions() -> None:
    assert inspect.iscoroutinefunction(CacheManager.ainvalidate)
    assert not inspect.iscoroutinefunction(CacheManager.invalidate)
