"""The parts of a Core: each is created at its first use, once for all threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

from llmcore import forks

__all__ = ["Part", "PartOwner"]

T = TypeVar("T")


class PartOwner:
    """An object with parts. A part that is removed from `_parts` is created again at its next use."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self._parts: dict[str, Any] = {}

    def _make_part(self, name: str, make: Callable[[Any], T]) -> T:
        with self._lock:
            part: T | None = self._parts.get(name)
            if part is None:
                part = self._parts[name] = make(self)
            return part


class Part(Generic[T]):
    """A cached property of a `PartOwner`, for all threads."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...
    @overload
    def __get__(self, owner: PartOwner, kind: type) -> T: ...
    def __get__(self, owner: PartOwner | None, kind: type) -> T | Self:
        if owner is None:
            return self
        part: T | None = owner._parts.get(self._name)  # noqa: SLF001 - `PartOwner` is in the same module
        return owner._make_part(self._name, self._make) if part is None else part  # noqa: SLF001
