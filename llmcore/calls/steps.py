"""Steps: the operations that a call yields to its driver. Each step has a sync and an async variant."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, TypeAlias, TypeVar

from llmcore.interrupts import Interrupted

__all__ = ["CHECKPOINT", "Act", "Expired", "Interrupted", "Step", "sleep"]

T = TypeVar("T")


class Step:
    """An operation that a call yields to its driver.

    The driver sends the result or throws the exception of the operation into the call.
    """

    __slots__ = ("args", "awaiting", "blocking")

    def __init__(
        self,
        blocking: Callable[..., Any],
        awaiting: Callable[..., Awaitable[Any]] | None,
        *args: Any,
    ) -> None:
        self.blocking = blocking
        self.awaiting = awaiting
        """The async variant. None if *blocking* never waits; the async driver then calls *blocking*."""
        self.args = args


class Expired(TimeoutError):
    """The deadline of a caller passed while the caller waited for the step. Neither the step nor the server failed."""


Act: TypeAlias = Generator[Step, Any, T]
"""A call, or a part of a call: a generator that yields steps and returns a T."""


def _do_nothing() -> None:
    """Do nothing."""


CHECKPOINT: Final = Step(_do_nothing, None)
"""A step without effect. A call that was cancelled during the previous step ends here."""


def sleep(seconds: float) -> Step:
    """Return the step that waits for *seconds*."""
    return Step(time.sleep, _asleep, seconds)


async def _asleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)
