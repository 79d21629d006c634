"""Optional abilities: markers for their tests, and `lacks` for backends that do not have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from llmcore_testing.conformance.base import Conformance

__all__ = ["Abilities", "of"]

T = TypeVar("T", bound=Callable[..., None])


def of(ability: str) -> Callable[[T], T]:
    """Mark a test of *ability*, which is named by one of its methods; see `Abilities.lacks`."""

    def mark(test: T) -> T:
        test.ability = ability  # type: ignore[attr-defined]
        return test

    return mark


class Abilities(Conformance):
    """Base of the kits that test optional abilities."""

    lacks: ClassVar[tuple[str, ...]] = ()
    """Abilities that the backend intentionally does not have, each named by one of its methods. pytest does not collect
    their tests. If an ability is missing and not listed here, its tests are skipped."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(cls):
            if getattr(getattr(cls, name), "ability", None) in cls.lacks:
                setattr(cls, name, None)

    def test_abilities_in_lacks_are_missing(self) -> None:
        there = [name for name in self.lacks if hasattr(self.caller.provider, name)]
        assert there == [], f"remove from `lacks` the abilities that the backend has: {', '.join(there)}"
