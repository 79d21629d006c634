"""Check common arguments: `cache=` and times such as `timeout=`."""

from __future__ import annotations

import contextlib
from typing import Literal

from llmcore.errors import BadRequest
from llmcore.units import Duration

__all__ = ["CacheUse", "check_cache_use", "parse_seconds"]

CacheUse = bool | Literal["refresh"]


def check_cache_use(asked: object) -> CacheUse:
    """Return *asked* if it is True, False or "refresh"; otherwise raise `BadRequest`."""
    if asked is True or asked is False or asked == "refresh":
        return "refresh" if asked == "refresh" else bool(asked)
    raise BadRequest(
        f'cache must be True, False or "refresh", got {asked!r}',
        code="LC308",
        where=f"cache={asked!r}",
        expected='True, False or "refresh"',
        fix='cache="refresh"',
    )


def parse_seconds(value: object, name: str) -> float:
    """Return the argument *name* in seconds, or raise `BadRequest`."""
    allowed = 0.0
    with contextlib.suppress(ValueError):
        allowed = Duration.parse(value)
    if allowed:
        return allowed
    raise BadRequest(
        f"{name} must be greater than 0, got {value!r}",
        code="LC308",
        where=f"{name}={value!r}",
        expected=f"above zero: {Duration.expected}",
        fix=f"{name}=30",
    )
