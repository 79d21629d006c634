"""Complete an operation even if its task is cancelled."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from llmcore.interrupts import Interrupted

__all__ = ["Interrupted", "complete"]

T = TypeVar("T")


async def complete(operation: Coroutine[Any, Any, T]) -> T:
    """Await *operation* until its end and return its result.

    If the task is cancelled meanwhile, raise `Interrupted` at the end: the host then receives the result together with the
    cancellation.
    """
    import asyncio

    task = asyncio.get_running_loop().create_task(operation)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        cancellation = error
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    failure = None if task.cancelled() else task.exception()
    if task.cancelled() or not (failure is None or isinstance(failure, Exception)):
        raise failure or cancellation
    try:
        raise Interrupted(None if failure else task.result(), failure, cancellation)
    finally:
        del cancellation, failure  # breaks the reference cycle of frame and traceback
