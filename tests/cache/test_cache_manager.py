"""CacheManager, get_cache and cached(): what code of this family relies on, sync and async and on both backends."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.cache import CacheManager, get_cache
from llmcore.errors import CacheError, ConfigError, PluginNotFound
from tests.kits.waiting import wait_until


@pytest.fixture(params=["memory", "file"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    options: dict[str, Any] = {"cache_dir": str(tmp_path / "cache")} if request.param == "file" else {}
    with CacheManager(backend=request.param, **options) as manager:
        yield manager


def test_a_value_that_was_set_is_found(cache: CacheManager) -> None:
    assert cache.set("user:1", {"name": "Ann", "tags": ["a", "b"], "age": 41, "none": None})
    assert cache.get("user:1") == {"name": "Ann", "tags": ["a", "b"], "age": 41, "none": None}


def test_a_miss_is_none_or_the_default(cache: CacheManager) -> None:
    assert cache.get("nothing") is None
    assert cache.get("nothing", default=7) == 7


@pytest.mark.parametrize("value", [None, 0, "", False, [], {}])
def test_a_falsy_value_is_a_hit(cache: CacheManager, value: object) -> None:
    cache.set("key", value)
    assert cache.get("key", default="missed") == value
    assert cache.get_stats()["hits"] == 1


@pytest.mark.parametrize("ttl", [0.05, "50ms", timedelta(milliseconds=50)])
def test_a_value_goes_when_its_time_is_over(cache: CacheManager, ttl: Any) -> None:
    cache.set("brief", 1, ttl=ttl)
    cache.set("long", 2, ttl="1h")
    wait_until(lambda: cache.get("brief") is None)
    assert cache.get("long") == 2


def test_a_deleted_value_is_gone(cache: CacheManager) -> None:
    cache.set("key", 1)
    assert cache.delete("key")
    assert not cache.delete("key")
    assert cache.get("key") is None


def test_a_pattern_invalidates_only_matching_keys(cache: CacheManager) -> None:
    for key in ("user:1", "user:2", "order:1"):
        cache.set(key, key)
    assert cache.invalidate("user:*") == 2
    assert [cache.get(key) for key in ("user:1", "user:2", "order:1")] == [None, None, "order:1"]


def test_invalidating_without_a_pattern_clears_everything(cache: CacheManager) -> None:
    cache.set("user:1", 1)
    cache.set("order:1", 1)
    assert cache.invalidate() == -1
    assert (cache.get("user:1"), cache.get("order:1")) == (None, None)


def test_statistics_count_hits_and_misses_and_begin_again(cache: CacheManager) -> None:
    cache.set("key", 1)
    cache.get("key")
    cache.get("other")
    assert cache.get_stats() == {"hits": 1, "misses": 1, "errors": 0, "hit_rate": 0.5, "total_requests": 2}
    cache.clear_stats()
    assert cache.get_stats() == {"hits": 0, "misses": 0, "errors": 0, "hit_rate": 0.0, "total_requests": 0}


def test_sync_and_async_see_the_same_values(cache: CacheManager) -> None:
    async def main() -> None:
        await cache.aset("a", 1)
        assert await cache.aget("a") == 1
        assert await cache.adelete("a")
        await cache.aset("user:1", 1)
        assert await cache.ainvalidate("user:*") == 1
        cache.set("b", 2)
        assert await cache.aget("b") == 2
        await cache.aclear()

    asyncio.run(main())
    assert cache.get("b") is None


class Colour(enum.IntEnum):
    RED = 1


hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(ZoneInfo("Europe/Paris"))),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
plain_values = st.recursive(
    hashable | st.sets(hashable, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=4),
    max_leaves=10,
)


def tag_types(value: Any) -> Any:
    """Return *value* with its types, so that == distinguishes them."""
    if isinstance(value, dict):
        return dict, [(tag_types(key), tag_types(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [tag_types(each) for each in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(tag_types(each)) for each in value)
    return type(value), value, repr(value)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), plain_values)
def test_each_accepted_value_is_returned_unchanged(cache: CacheManager, key: str, value: object) -> None:
    assert cache.set(key, value)
    assert tag_types(cache.get(key)) == tag_types(value)


def test_times_come_back_as_times(cache: CacheManager) -> None:
    now = datetime.now(UTC)
    cache.set("now", now)
    assert cache.get("now") == now


@pytest.mark.parametrize(
    "value",
    [object(), lambda: None, OrderedDict(a=1), {"deep": [object()]}, Colour.RED, Path("x"), "\ud800"],
)
def test_a_value_that_cannot_be_stored_is_logged_and_counted(
    cache: CacheManager, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set("key", 1)
    assert cache.set("other", value) is False
    assert asyncio.run(cache.aset("other", value)) is False
    assert cache.get_stats()["errors"] == 2
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("llmcore.cache")]
    assert len(logged) == 2
    assert "cannot be cached" in logged[0]
    assert (cache.get("other"), cache.get("key")) == (None, 1)


@pytest.mark.parametrize("key", ["", None, 7])
def test_an_invalid_key_is_refused(cache: CacheManager, key: Any) -> None:
    with pytest.raises(CacheError, match="a key must be text"):
        cache.set(key, 1)


@pytest.mark.parametrize("ttl", [0, -1, "soon", "-1s", float("nan")])
def test_an_invalid_ttl_is_refused(cache: CacheManager, ttl: Any) -> None:
    with pytest.raises(CacheError, match="ttl must be a duration greater than 0"):
        cache.set("key", 1, ttl=ttl)


def test_long_keys_that_begin_alike_stay_apart(cache: CacheManager) -> None:
    one, other = "x" * 5000 + "1", "x" * 5000 + "2"
    cache.set(one, 1)
    cache.set(other, 2)
    assert (cache.get(one), cache.get(other)) == (1, 2)


@pytest.mark.parametrize(("pattern", "left"), [("a[1]*", ["a1"]), ("a?", ["a[1]x"]), ("*", [])])
def test_a_pattern_has_two_wild_cards_and_no_more(cache: CacheManager, pattern: str, left: list[str]) -> None:
    cache.set_many({"a[1]x": 1, "a1": 2})
    cache.invalidate(pattern)
    assert list(cache.get_many(["a[1]x", "a1"])) == left


def test_many_are_set_and_got_at_once(cache: CacheManager) -> None:
    assert cache.set_many({"a": 1, "b": None}, ttl="1h")
    assert cache.get_many(["b", "c", "a"]) == {"b": None, "a": 1}
    assert cache.set_many({"x": 1, "y": object()}) is False
    assert cache.get("x") is None
    with pytest.raises(CacheError, match="a key must be text"):
        cache.set_many({"x": 1, "": object()})


def test_many_in_the_other_variant(cache: CacheManager) -> None:
    async def main() -> dict[str, Any]:
        async with cache:
            await cache.aset_many({"a": 1, "b": 2})
            return await cache.aget_many(["a", "b", "c"])

    assert asyncio.run(main()) == {"a": 1, "b": 2}


def test_managing_a_backend_that_fails_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = CacheManager(backend="file", cache_dir=str(tmp_path / "file"))
    for manage in (cache.clear, lambda: cache.invalidate("*"), lambda: cache.invalidate(tags="a")):
        with pytest.raises(CacheError):
            manage()


class TestCached:
    def test_a_function_is_called_once_for_the_same_arguments(self, cache: CacheManager) -> None:
        calls: list[int] = []

        @cache.cached(ttl=3600)
        def double(x: int, *, times: int = 2) -> int:
            calls.append(x)
            return x * times

        assert [double(3), double(x=3), double(3, times=2), double(4), double(3, times=3)] == [6, 6, 6, 8, 9]
        assert calls == [3, 4, 3]
        assert double.__name__ == "double"

    def test_values_of_different_types_are_different_arguments(self, cache: CacheManager) -> None:
        @cache.cached()
        def kind(x: object) -> str:
            return type(x).__name__

        assert [kind(1), kind(bool(1)), kind(1.0), kind("1"), kind((1,)), kind([1])] == [
            "int", "bool", "float", "str", "tuple", "list",
        ]  # fmt: skip

    def test_none_is_a_result_like_any_other(self, cache: CacheManager) -> None:
        calls: list[int] = []

        @cache.cached()
        def nothing() -> None:
            calls.append(1)

        nothing()
        nothing()
        assert calls == [1]

    def test_a_coroutine_function_is_called_once(self, cache: CacheManager) -> None:
        calls: list[int] = []

        @cache.cached()
        async def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        async def main() -> list[int]:
            return [await double(3), await double(3)]

        assert asyncio.run(main()) == [6, 6]
        assert calls == [3]

    def test_an_annotated_result_comes_back_as_its_type(self, cache: CacheManager) -> None:
        @cache.cached()
        def find(name: str) -> City:
            return City(name, (48.9, 2.4))

        assert find("Paris") == find("Paris") == City("Paris", (48.9, 2.4))
        assert cache.get_stats()["hits"] == 1

    def test_an_exception_is_not_cached(self, cache: CacheManager) -> None:
        calls: list[int] = []

        @cache.cached()
        def fails() -> int:
            calls.append(1)
            raise ValueError("no")

        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                fails()
        assert calls == [1, 1]

    def test_key_replaces_the_arguments(self, cache: CacheManager) -> None:
        @cache.cached(key=lambda user, **_: f"user:{user}")
        def greet(user: str, *, at: object) -> str:
            return f"{user} {at}"

        assert greet("ann", at=object) == greet("ann", at=int)

    def test_arguments_that_are_not_data_need_a_key(self, cache: CacheManager) -> None:
        @cache.cached()
        def take(_: object) -> int:
            return 1

        with pytest.raises(CacheError, match="cannot make a key from the arguments"):
            take(object())

    def test_functions_with_the_same_name_have_different_keys(self, cache: CacheManager) -> None:
        def one() -> str:
            return "one"

        def other() -> str:
            return "other"

        other.__name__ = one.__name__
        assert (cache.cached()(one)(), cache.cached()(other)()) == ("one", "other")


@dataclasses.dataclass
class City:
    name: str
    at: tuple[float, float]


def test_values_outlive_the_process_that_set_them(tmp_path: Path) -> None:
    with CacheManager(backend="file", cache_dir=str(tmp_path)) as first:
        first.set("key", [1, 2])
    with CacheManager(backend="file", cache_dir=str(tmp_path)) as second:
        assert second.get("key") == [1, 2]


def test_the_shared_default_is_one_object_as_the_configuration_says() -> None:
    cache = get_cache()
    assert get_cache() is cache
    cache.set("shared", 1)
    assert get_cache().get("shared") == 1


def test_an_unknown_backend_gets_the_nearest_name() -> None:
    with pytest.raises(PluginNotFound) as caught:
        CacheManager(backend="memry")
    assert caught.value.suggestion == "memory"


def test_a_backend_that_is_not_installed_names_its_package() -> None:
    with pytest.raises(PluginNotFound) as caught:
        CacheManager(backend="dynamodb")
    assert caught.value.fix == 'provider = "file"', "no distribution of ours offers it"


def test_an_unknown_option_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        CacheManager(backend="file", cach_dir="x")
    assert caught.value.suggestion == "cache_dir"


def test_a_backend_that_fails_is_a_miss_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = CacheManager(backend="file", cache_dir=str(tmp_path / "file"))
    for _ in range(3):
        assert not cache.set("key", 1)
        assert cache.get("key") is None
    assert cache.get_stats()["errors"] == 3  # from now on the breaker is open
    assert len([record for record in caplog.records if record.name.startswith("llmcore.cache")]) == 1
