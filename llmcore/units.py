"""Durations and sizes in text form ("90s", "1h", "64MB"), and numbers of tokens."""

from __future__ import annotations

import re

__all__ = ["Duration", "Size", "TokenCount", "is_part"]

TYPE_CHECKING = False  # avoid importing `typing`, which takes longer than counting a text
if TYPE_CHECKING:
    from typing import Final, Self, TypeGuard

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES: Final = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_NUMBER_AND_UNIT: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


class Duration(float):
    """Seconds. In configuration: a number of seconds, or text such as "90s", "1h", "7d"."""

    __slots__ = ()
    expected: Final = 'a number of seconds, or a number and a unit: "500ms", "90s", "10m", "2h", "7d"'
    """The valid texts, for error messages."""

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Read *value*, a number, text or timedelta.

        Raises:
            ValueError: *value* is of another type, malformed, or negative.
        """
        if not isinstance(value, str | float):
            from datetime import timedelta

            value = value.total_seconds() if isinstance(value, timedelta) else value
        seconds = _read(value, _SECONDS, default="s")
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"not a duration: {value!r}")
        return cls(seconds)


class Size(int):
    """Bytes. In configuration: a number of bytes, or text such as "64MB", "1GiB"."""

    __slots__ = ()
    expected: Final = 'a number of bytes, or a number and a unit: "512KB", "64MB", "1GB", "1GiB"'
    """The valid texts, for error messages."""

    @classmethod
    def parse(cls, value: object) -> Size:
        """Read *value*, a number or text.

        Raises:
            ValueError: *value* is of another type, malformed, or negative.
        """
        size = _read(value, _BYTES, default="b")
        if not 0 <= size < float("inf"):
            raise ValueError(f"not a size: {value!r}")
        return cls(size)


def is_part(value: object) -> TypeGuard[float]:
    """Return whether *value* is a number greater than 0 and less than 1."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < 1


def _read(value: object, units: dict[str, float] | dict[str, int], *, default: str) -> float:
    if isinstance(value, bool):
        raise ValueError(f"expected a number or text, got {value!r}")  # noqa: TRY004 - callers get ValueError for every wrong value
    if isinstance(value, int | float):
        return value
    match = _NUMBER_AND_UNIT.fullmatch(value) if isinstance(value, str) else None
    unit = units.get((match[2] or default).lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"expected a number and a unit, got {value!r}")
    return float(match[1]) * unit


class TokenCount(int):
    """A token count that knows whether it is `exact`, and its upper bound."""

    exact: bool
    """True if the backend counts the same number; False for an estimate."""
    bound: int | None
    """The most tokens that the backend may count.

    If the count is exact, the bound is the number itself. If no bound is known, it is None.
    """

    def __new__(cls, value: int, *, exact: bool, bound: int | None = None) -> Self:
        """Return *value* as an *exact* count, or as an estimate with an optional upper *bound*."""
        count = super().__new__(cls, value)
        count.exact = exact
        count.bound = int(count) if exact else bound
        return count

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, bool | int | None]]:
        """Return the arguments that create an equal instance, for pickle and copy."""
        return (int(self),), {"exact": self.exact, "bound": self.bound}

    def __repr__(self) -> str:
        bound = "" if self.exact or self.bound is None else f", bound={self.bound}"
        return f"TokenCount({int(self)}, exact={self.exact}{bound})"

    def __str__(self) -> str:
        return int.__repr__(self)
