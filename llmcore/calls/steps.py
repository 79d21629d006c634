"""One thing that a call needs done outside, in both colours."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

__all__ = ["Act", "Step", "sleep"]

T = TypeVar("T")


class Step:
    """What a call yields to its driver, which sends back the result or throws what was raised."""

    __slots__ = ("args", "awaiting", "blocking")

    def __init__(
        self,
        blocking: Callable[..., Any],
        awaiting: Callable[..., Awaitable[Any]] | None,
        *args: Any,
    ) -> None:
        self.blocking = blocking
        self.awaiting = awaiting
        """None where *blocking* never waits: the asynchronous driver then calls it as well."""
        self.args = args


Act: TypeAlias = Generator[Step, Any, T]
"""A call, or a part of one: yields steps and returns a T."""


def sleep(seconds: float) -> Step:
    """Return the step that waits."""
    return Step(time.sleep, _asleep, seconds)


async def _asleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)
