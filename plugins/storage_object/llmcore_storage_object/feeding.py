"""Streams into the SDK: whoever saves goes on iterating over its own source, and what had begun is taken back when it stops."""

from __future__ import annotations

import asyncio  # noqa: TID253 - this module is imported when a store is first used
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

__all__ = ["END", "GRACE_S", "Stopped", "fed"]

END: Final = object()
"""What stands for the piece after the last one."""
GRACE_S: Final = 5.0
"""How long a cancelled save waits for the SDK to take back what it began on the server."""


async def fed(put: Callable[[AsyncIterator[Any]], Awaitable[Any]], source: AsyncIterator[Any]) -> Any:
    """Have the SDK *put* what *source* yields, which this task iterates over as the SDK asks for it.

    When the source fails or this task is cancelled, the SDK sees its own source fail: then it removes the parts that it has
    sent. Cancelled itself, it would leave them on the server.
    """
    given = _Given()
    putting = asyncio.ensure_future(put(given.pieces()))
    putting.add_done_callback(lambda _: given.asked.put_nowait(None))
    try:
        while (answer := await given.asked.get()) is not None:
            piece = await anext(source, END)
            if not answer.done():
                answer.set_result(piece)
        return putting.result()
    except BaseException:
        if given.began:
            given.stop()
            await asyncio.wait({putting}, timeout=GRACE_S)
        raise
    finally:
        putting.cancel()
        putting.add_done_callback(_heard)


class _Given:
    """The pieces as the SDK sees them."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self.began = False
        """Whether the SDK has asked for any: it does so when the server has taken up the upload."""
        self._stopped = asyncio.Event()

    async def pieces(self) -> AsyncIterator[Any]:
        """Yield what is answered, and fail when stopped."""
        while True:
            self.began = True
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._answer = answer
            self.asked.put_nowait(answer)
            if self._stopped.is_set():
                raise Stopped
            if (piece := await answer) is END:
                return
            yield piece

    def stop(self) -> None:
        """Fail at the piece that the SDK waits for, or asks for next."""
        self._stopped.set()
        if not self._answer.done():
            self._answer.set_exception(Stopped())
            self._answer.exception()  # it is no fault if nobody hears of it


class Stopped(Exception):
    """Whoever saves does so no longer."""


def _heard(putting: asyncio.Future[Any]) -> None:
    """Take note of how it ended, which is of no interest any more."""
    if not putting.cancelled():
        putting.exception()
