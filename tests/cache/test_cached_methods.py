"""cached() on all kinds of methods, and the names of cached functions."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from llmcore.cache import CacheManager
from llmcore.errors import CacheError


@pytest.fixture(params=["memory", "file"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheManager]:
    options: dict[str, Any] = {"cache_dir": str(tmp_path / "cache")} if request.param == "file" else {}
    with CacheManager(backend=request.param, **options) as manager:
        yield manager


@dataclasses.dataclass
class Shop:
    name: str

    def price(self, item: str) -> str:
        return f"{item} at {self.name}"


class Opaque:
    factor = 2

    def __init__(self) -> None:
        self.ran = 0

    def double(self, x: int) -> int:
        self.ran += 1
        return self.factor * x

    @classmethod
    def scaled(cls, x: int) -> int:
        return cls.factor * x


class Triple(Opaque):
    factor = 3


class Own(Opaque):
    def __cache_key__(self) -> object:
        return "own", self.factor


class TestMethods:
    def test_an_instance_that_is_data_is_part_of_the_key(self, cache: CacheManager) -> None:
        price = cache.cached()(Shop.price)
        assert [price(Shop("A"), "tea"), price(Shop("B"), "tea"), price(Shop("A"), "tea")] == [
            "tea at A", "tea at B", "tea at A",
        ]  # fmt: skip
        assert cache.get_stats()["hits"] == 1

    def test_an_instance_that_is_not_data_requires_a_key(self, cache: CacheManager) -> None:
        with pytest.raises(CacheError, match="`self`: objects of type Opaque are not data"):
            cache.cached()(Opaque.double)(Opaque(), 1)

    def test_an_instance_may_say_its_own_key(self, cache: CacheManager) -> None:
        double = cache.cached()(Opaque.double)
        one, other = Own(), Own()
        assert [double(one, 1), double(other, 1), one.ran, other.ran] == [2, 2, 1, 0]

    def test_on_a_class_it_binds_like_a_method(self, cache: CacheManager) -> None:
        class Bound(Own):
            twice = cache.cached()(Opaque.double)

        bound = Bound()
        assert [bound.twice(4), bound.twice(4), bound.ran] == [8, 8, 1]

    def test_class_methods_of_different_classes_have_different_keys(self, cache: CacheManager) -> None:
        function: Any = cache.cached()(Opaque.__dict__["scaled"])
        assert isinstance(function, classmethod)
        assert [function.__func__(each, 2) for each in (Opaque, Triple, Opaque)] == [4, 6, 4]
        assert cache.get_stats()["hits"] == 1

    def test_static_methods_are_functions(self, cache: CacheManager) -> None:
        function: Any = cache.cached()(staticmethod(len_of))
        assert [function("abc"), function("abc")] == [3, 3]
        assert cache.get_stats()["hits"] == 1

    def test_a_class_that_a_function_made_has_no_lasting_name(self, cache: CacheManager) -> None:
        @dataclasses.dataclass
        class Local:
            x: int

        @cache.cached()
        def take(x: object) -> str:
            return str(x)

        with pytest.raises(CacheError, match="may not be unique"):
            take(Local(1))


def len_of(text: str) -> int:
    return len(text)


class TestNames:
    def test_nested_functions_with_the_same_name_have_different_keys(self, cache: CacheManager) -> None:
        def adder(n: int) -> Callable[[int], int]:
            @cache.cached()
            def add(x: int) -> int:
                return x + n

            return add

        def doubler(function: Callable[[int], int]) -> Callable[[int], int]:
            return cache.cached()(lambda x: 2 * function(x))

        assert [adder(1)(1), adder(2)(1), adder(1)(1)] == [2, 3, 2]
        assert [doubler(lambda x: x)(3), doubler(lambda x: x + 1)(3)] == [6, 8]
        assert cache.get_stats()["hits"] == 1

    def test_closures_over_different_objects_have_different_keys(self, cache: CacheManager) -> None:
        def of(shop: Any) -> Callable[[int], int]:
            return cache.cached()(lambda x: shop.double(x) + 0)

        one, three = Opaque(), Triple()
        assert [of(one)(1), of(three)(1), of(one)(1), one.ran] == [2, 3, 2, 1]

    def test_lambdas_have_different_keys(self, cache: CacheManager) -> None:
        one, other = cache.cached()(lambda x: x + 1), cache.cached()(lambda x: x + 2)
        assert (one(1), other(1)) == (2, 3)

    def test_functions_of_two_modules_have_different_keys(self, cache: CacheManager) -> None:
        def make_module(module: str) -> Any:
            names: dict[str, Any] = {"__name__": module}
            exec(f"def f(): return {module!r}", names)  # noqa: S102 - two modules in one test
            return cache.cached()(names["f"])

        assert (make_module("one")(), make_module("two")()) == ("one", "two")

    def test_a_name_is_the_same_in_another_process(self, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(
            "from llmcore.cache import CacheManager\n"
            "cache = CacheManager(backend='memory')\n"
            "def outer(n):\n"
            "    @cache.cached()\n"
            "    def inner(x): return {x, n, 'a', 'b'} & {'a', 'b', 'c'}\n"
            "    return inner\n"
            "f = cache.cached()(lambda x, *, y={'p', 'q', 'r'}: x)\n"
            "print(outer(1).cache_key('a'), outer(2).cache_key('a'), f.cache_key(1))\n"
        )
        out = [
            subprocess.run(
                [sys.executable, str(program)],
                env={"PYTHONHASHSEED": seed, "HOME": str(tmp_path)},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        ]
        assert out[0] == out[1]
        assert len(set(out[0].split())) == 3

    def test_a_name_of_ones_own_lasts(self, cache: CacheManager) -> None:
        one, other = (cache.cached(name="shared")(function) for function in (lambda x: x, lambda x: -x))
        assert (one(5), other(5)) == (5, 5)

    @pytest.mark.parametrize("what", [len, partial(len_of), Opaque, 3])
    def test_something_else_than_a_function_is_rejected(self, cache: CacheManager, what: Any) -> None:
        with pytest.raises(CacheError, match=r"cached\(\) must decorate a function"):
            cache.cached()(what)

    def test_brackets_that_are_missing_are_asked_for(self, cache: CacheManager) -> None:
        wrong: Any = cache.cached
        with pytest.raises(CacheError) as caught:
            wrong(len_of)
        assert caught.value.fix == "@cache.cached()"
