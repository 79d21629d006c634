"""cached() on every kind of function: keys from arguments, names, methods, results, and what hangs on the wrapper."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.cache import CacheManager
from llmcore.cache.arguments import to_canonical_bytes
from llmcore.errors import CacheError


@pytest.fixture(params=["memory", "file"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheManager]:
    options: dict[str, Any] = {"cache_dir": str(tmp_path / "cache")} if request.param == "file" else {}
    with CacheManager(backend=request.param, **options) as manager:
        yield manager


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass
class Spot:
    x: Any
    y: Any = 0


class City(msgspec.Struct):
    name: str
    at: Any = None


class Pair(NamedTuple):
    x: int
    y: int


APART = [
    1, True, 1.0, "1", b"1", 1 + 0j, Decimal(1), Decimal("1.0"), bytearray(b"1"), None, "", 0, -0.0, 0.0, False,
    (1, 2), [1, 2], {1, 2}, frozenset({1, 2}), Pair(1, 2), (1, (2,)), ((1,), 2), [[1, 2]], [1, True], [True, 1],
    {"a": 1}, {"a": True}, {"a": {"b": 1}}, {"a": {"b": [1]}}, [("a", 1)], {1: "a"}, {"1": "a"},
    Colour.RED, Colour.BLUE, Level.LOW, Point(1), Point(1.0), Point(1, 1), Spot(1), City("x"), City("x", 1), "Point",
    date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1), timedelta(1), UUID(int=1),  # noqa: DTZ001 - a naive one is meant
    PurePosixPath("a"), "a", Point, Spot, int, range(3), [0, 1, 2], float("inf"),
]  # fmt: skip


def test_arguments_of_different_types_or_values_are_different_at_every_depth() -> None:
    assert len({to_canonical_bytes(each) for each in APART}) == len(APART)
    assert len({to_canonical_bytes([[each]]) for each in APART}) == len(APART)


def test_equal_arguments_of_any_order_are_the_same() -> None:
    assert to_canonical_bytes({"a": 1, "b": {"d": 1, "c": 2}}) == to_canonical_bytes(
        {"b": {"c": 2, "d": 1}, "a": 1}
    )
    assert to_canonical_bytes({"x", "y", "z"}) == to_canonical_bytes({"z", "y", "x"})
    assert to_canonical_bytes(Point([1])) == to_canonical_bytes(Point([1]))


data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.slow
@given(data, data)
def test_arguments_share_a_key_exactly_if_they_look_the_same(one: object, other: object) -> None:
    assert (to_canonical_bytes(one) == to_canonical_bytes(other)) == (show(one) == show(other))


def show(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: show(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [show(each) for each in value]
    return repr(value)


class TestDifferentArguments:
    def test_a_value_of_another_type_is_another_argument_on_the_short_way_too(
        self, cache: CacheManager
    ) -> None:
        @cache.cached()
        def kind(x: object, y: object = None) -> str:
            return f"{type(x).__name__} {x!r} {y!r}"

        for _ in range(3):
            assert [kind(1), kind(x=True), kind(1.0), kind("1"), kind(-0.0), kind(0.0), kind(Level.LOW)] == [
                "int 1 None", "bool True None", "float 1.0 None", "str '1' None", "float -0.0 None",
                "float 0.0 None", "Level <Level.LOW: 1> None",
            ]  # fmt: skip
            assert [kind(1, 1), kind(1, y=True), kind(1, y=1), kind(y=1, x=1)] == [
                "int 1 1",
                "int 1 True",
                "int 1 1",
                "int 1 1",
            ]

    def test_wrong_arguments_are_the_functions_own_error(self, cache: CacheManager) -> None:
        @cache.cached()
        def one(x: int) -> int:
            return x

        wrong: Any = one
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
            wrong()

    @pytest.mark.parametrize("argument", [object(), lambda: 1, memoryview(b""), iter([])])
    def test_an_argument_that_is_not_data_is_named_with_a_fix(
        self, cache: CacheManager, argument: object
    ) -> None:
        @cache.cached()
        def take(first: int, other: object) -> str:
            return f"{first} {other}"

        with pytest.raises(CacheError, match="`other`") as caught:
            take(1, [argument])
        assert (
            caught.value.fix is None
        )  # no line is right for every type, and a constant key mixes the results up
        assert "use an attribute that is unique for each object, such as other.id" in str(caught.value)

    def test_an_argument_that_holds_itself_is_refused(self, cache: CacheManager) -> None:
        @cache.cached()
        def take(x: list[Any]) -> int:
            return len(x)

        ring: list[Any] = []
        ring.append(ring)
        with pytest.raises(CacheError, match="contains itself"):
            take(ring)

    def test_a_key_that_is_not_text_is_rejected(self, cache: CacheManager) -> None:
        wrong: Any = lambda x: x  # noqa: E731 - typed so that it may be wrong
        with pytest.raises(CacheError, match="must return text"):
            cache.cached(key=wrong)(lambda x: x)(7)


class TestResults:
    @pytest.mark.parametrize("value", [None, 0, "", False, [], {}, (), set(), b"", 0.0])
    def test_falsy_results_are_cached_unchanged(self, cache: CacheManager, value: object) -> None:
        ran: list[int] = []

        @cache.cached()
        def give() -> object:
            ran.append(1)
            return value

        results = [give(), give(), give()]
        assert results == [value] * 3
        assert {type(each) for each in results} == {type(value)}
        assert ran == [1]

    def test_a_caller_cannot_change_the_result_of_another(self, cache: CacheManager) -> None:
        @cache.cached()
        def give() -> list[int]:
            return [1]

        for _ in range(3):
            give().append(2)
        assert give() == [1]

    @pytest.mark.parametrize(
        "kind", ["City", "list[City]", "dict[str, City]", "City | None", "Pair", "Colour"]
    )
    def test_complex_data_comes_back_through_the_annotation(self, cache: CacheManager, kind: str) -> None:
        values = {
            "City": City("Paris"), "list[City]": [City("Paris")], "dict[str, City]": {"p": City("Paris")},
            "City | None": City("Paris"), "Pair": Pair(1, 2), "Colour": Colour.BLUE,
        }  # fmt: skip

        def give() -> Any:
            return values[kind]

        give.__annotations__["return"] = kind
        function = cache.cached()(give)
        assert [function(), function()] == [values[kind]] * 2
        assert cache.get_stats()["hits"] == 1

    @pytest.mark.parametrize("shape", ["{}", "list[{}]", "dict[str, {}]", "{} | None"])
    def test_pydantic_models_come_back_through_the_annotation(self, cache: CacheManager, shape: str) -> None:
        import pydantic

        model: Any = pydantic.create_model("Model", at=(datetime, ...), tags=(set[str], ...))
        one = model(at=datetime(2026, 1, 1, tzinfo=UTC), tags={"a", "b"})
        value: Any = {"list[{}]": [one], "dict[str, {}]": {"k": one}}.get(shape, one)

        def give() -> Any:
            return value

        give.__annotations__["return"] = eval(shape.format("model"))  # noqa: S307 - a text of this test's own
        function = cache.cached()(give)
        assert [function(), function()] == [value] * 2
        assert cache.get_stats()["hits"] == 1

    def test_a_condition_decides_which_results_are_cached(self, cache: CacheManager) -> None:
        turns = itertools.count()

        @cache.cached(condition=lambda found: found > 1)
        def turn() -> int:
            return next(turns)

        assert [turn() for _ in range(4)] == [0, 1, 2, 2]

    def test_a_result_that_cannot_be_cached_raises_at_once(self, cache: CacheManager) -> None:
        @cache.cached()
        def give() -> object:
            return object()

        with pytest.raises(CacheError, match="cannot be cached"):
            give()

    def test_exceptions_are_never_cached(self, cache: CacheManager) -> None:
        turns = itertools.count()

        @cache.cached()
        def fails() -> int:
            if next(turns) == 0:
                raise StopIteration("odd, and the function's own")
            return 1

        with pytest.raises(StopIteration):
            fails()
        assert fails() == 1


class TestWrapper:
    def test_one_call_or_all_calls_are_invalidated(self, cache: CacheManager) -> None:
        ran: list[int] = []

        @cache.cached()
        def double(x: int, times: int = 2) -> int:
            ran.append(x)
            return times * x

        @cache.cached()
        def other(x: int) -> int:
            return x

        double(1), double(2), double(1), other(1)
        assert double.invalidate(x=1) == 1
        assert double.invalidate(1) == 0
        double(1), double(2)
        assert ran == [1, 2, 1]
        assert double.invalidate() == 2
        double(1), double(2)
        assert ran == [1, 2, 1, 1, 2]
        assert asyncio.run(double.ainvalidate()) == 2
        assert cache.get(other.cache_key(1)) == 1

    def test_a_result_computed_during_an_invalidation_is_not_cached(self, cache: CacheManager) -> None:
        turns = itertools.count(1)
        running, gate = threading.Event(), threading.Event()

        @cache.cached()
        def slow() -> int:
            turn = next(turns)
            if turn == 1:
                running.set()
                assert gate.wait(60)
            return turn

        thread = threading.Thread(target=slow)
        thread.start()
        assert running.wait(60)
        slow.invalidate()
        gate.set()
        thread.join()
        assert slow() == 2

    def test_uncached_keeps_nothing_and_refresh_keeps(self, cache: CacheManager) -> None:
        turns = itertools.count(1)

        @cache.cached()
        def turn() -> int:
            return next(turns)

        assert [turn(), turn.uncached(), turn(), turn.refresh(), turn()] == [1, 2, 1, 3, 3]
        assert turn.__wrapped__() == 4

    def test_a_coroutine_function_has_them_in_its_own_variant(self, cache: CacheManager) -> None:
        turns = itertools.count(1)

        @cache.cached()
        async def turn() -> int:
            return next(turns)

        async def main() -> list[int]:
            found = [await turn(), await turn.uncached(), await turn(), await turn.refresh(), await turn()]
            assert await turn.ainvalidate() == 1
            return [*found, await turn()]

        assert inspect.iscoroutinefunction(turn)
        assert asyncio.run(main()) == [1, 2, 1, 3, 3, 4]

    def test_its_key_leads_to_the_value(self, cache: CacheManager) -> None:
        @cache.cached()
        def double(x: int) -> int:
            return 2 * x

        double(4)
        assert cache.get(double.cache_key(4)) == 8
        cache.set(double.cache_key(4), 9)
        assert double(4) == 9

    @pytest.mark.parametrize("refresh", [0, 1, -0.5, 2])
    def test_a_refresh_outside_0_to_1_is_rejected(self, cache: CacheManager, refresh: float) -> None:
        with pytest.raises(CacheError, match="refresh must be a number between 0 and 1"):
            cache.cached(ttl=1, refresh=refresh)(show)

    def test_a_refresh_needs_a_time(self) -> None:
        with (
            CacheManager("memory", ttl=None) as cache,
            pytest.raises(CacheError, match="needs ttl="),
        ):
            cache.cached(refresh=0.5)(show)


def test_the_short_way_sees_every_change_and_the_end_of_the_time(cache: CacheManager) -> None:
    turns = itertools.count(1)

    @cache.cached(ttl="1h")
    def turn(_: str) -> int:
        return next(turns)

    changes: list[Callable[[], object]] = [
        lambda: turn.invalidate("a"), turn.invalidate, cache.clear, lambda: cache.invalidate("*"),
        lambda: cache.delete(turn.cache_key("a")),
    ]  # fmt: skip
    for expected, change in enumerate(changes, start=1):
        assert [turn("a") for _ in range(4)] == [expected] * 4
        change()
    cache.close()
    assert turn("a") == 6
    cache.set(turn.cache_key("a"), 60, ttl=0.02)
    assert cache.get_stats()["hits"] == 3 * len(changes)
    while turn("a") == 60:
        pass
    assert turn("a") == 7


def test_different_arguments_have_different_keys(cache: CacheManager) -> None:
    @cache.cached()
    def same(x: int) -> int:
        return x

    assert all(same(each) == each for _ in range(3) for each in range(1100))
    assert cache.get_stats()["misses"] == 1100
