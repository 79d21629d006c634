"""Wait for futures to the end, even if the waiting task is cancelled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["wait_for_all"]


async def wait_for_all(futures: Iterable[Any]) -> None:
    """Wait until all of *futures* are done; raise a cancellation that arrives in the meantime afterwards."""
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
            future.exception()  # otherwise asyncio logs an exception that was never retrieved
    if cancelled:
        raise asyncio.CancelledError
