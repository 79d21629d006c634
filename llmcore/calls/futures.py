"""Wait until futures are done, even if the waiting task is cancelled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["wait_for_all"]


async def wait_for_all(futures: Iterable[Any]) -> None:
    """Wait until all *futures* are done.

    If the task is cancelled in the meantime, raise the cancellation afterwards.
    """
    import asyncio

    waited = list(futures)
    pending, cancelled = set(waited), False
    while pending:
        try:
            _, pending = await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
            pending = {future for future in pending if not future.done()}
    for future in waited:
        if not future.cancelled():
            future.exception()  # marks the exception as retrieved: otherwise asyncio logs it
    if cancelled:
        raise asyncio.CancelledError
