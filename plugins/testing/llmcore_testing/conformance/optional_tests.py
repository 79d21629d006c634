"""Optional tests of a kit: they need an ability that a backend may lack, or a fixture that the plugin's author defines.

Without the fixture, the test is skipped with a reason that begins with `NOT_CHECKED`. The attribute `lacks` of the test
class excludes tests of abilities and of fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeVar

import pytest

from llmcore_testing.unchecked_parts import NOT_CHECKED

__all__ = ["OptionalParts", "for_ability", "requires"]

T = TypeVar("T", bound=Callable[..., None])

_SUBJECTS: Final[Mapping[str, str]] = {
    "broken": "a server that fails",
    "canary": "that nothing shows the key",
    "denied": "credentials that the server refuses",
    "opener": "a second instance",
    "restricted": "a server that refuses single operations",
    "sibling": "a second namespace",
    "twin": "a second instance",
    "upstream": "a server that fails",
    "variation": "that the cache keeps audio of other options apart",
}
"""Fixture -> the subject of the tests that need the fixture."""


def for_ability(ability: str) -> Callable[[T], T]:
    """Mark a test of *ability*, given as the name of one of the ability's methods; see `OptionalParts.lacks`."""

    def mark(test: T) -> T:
        test.ability = ability  # type: ignore[attr-defined]
        return test

    return mark


def requires(*fixtures: str) -> Callable[[T], T]:
    """Mark a test that needs these fixtures. The author of the test class defines the fixtures; by default, each fixture is None or empty."""

    def mark(test: T) -> T:
        test.required_fixtures = fixtures  # type: ignore[attr-defined]
        return test

    return mark


class OptionalParts:
    """Excludes tests of abilities that a backend lacks, and skips tests whose fixture the author has not defined."""

    lacks: ClassVar[tuple[str, ...]] = ()
    """The abilities that the backend intentionally lacks, and the optional fixtures that do not apply to the backend.

    An ability is given by the name of one of its methods. pytest does not collect the tests of these abilities and
    fixtures. Tests of any other missing ability or fixture are skipped.
    """

    _left_out: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        left_out = dict(cls._left_out)
        for name in dir(cls):
            inherited, test = left_out.pop(name, None), getattr(cls, name)
            test = inherited if test is None else test  # a subclass may have abilities that its base lacks
            named = (getattr(test, "ability", None), *getattr(test, "required_fixtures", ()))
            lacking = not set(cls.lacks).isdisjoint(named)
            if lacking:
                left_out[name] = test
            if lacking or inherited is not None:
                setattr(cls, name, None if lacking else test)
        cls._left_out = left_out

    @pytest.fixture(autouse=True)
    def _skip_without_fixtures(self, request: pytest.FixtureRequest) -> None:
        required: tuple[str, ...] = getattr(request.function, "required_fixtures", ())
        for name in required:
            value = request.getfixturevalue(name)
            if value is None or (isinstance(value, Mapping) and not value):
                fixtures = " and ".join(f"`{each}`" for each in required)
                pytest.skip(
                    f"{NOT_CHECKED}{_SUBJECTS[name]}; define the fixture{'s' * (len(required) > 1)} {fixtures}, "
                    f'or write lacks = ("{required[-1]}",)'
                )
