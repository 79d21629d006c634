"""Asynchronous uploads: the task that saves iterates over its source, and an upload that stops is aborted."""

from __future__ import annotations

import asyncio  # noqa: TID253 - this module is imported when a store is first used
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

__all__ = ["END", "GRACE_S", "Stopped", "upload"]

END: Final = object()
"""Marks the end of the pieces."""
GRACE_S: Final = 5.0
"""The time for which a cancelled save waits until the SDK has aborted the upload."""


async def upload(put: Callable[[AsyncIterator[Any]], Awaitable[Any]], source: AsyncIterator[Any]) -> Any:
    """Call the SDK's *put* with the pieces of *source*, which this task fetches as the SDK requests them.

    If the source fails or this task is cancelled, the SDK's iterator raises, and the SDK deletes the parts that it has sent. If
    the SDK's call were cancelled, the parts would remain on the server.
    """
    feed = _PieceFeed()
    putting = asyncio.ensure_future(put(feed.pieces()))
    putting.add_done_callback(lambda _: feed.asked.put_nowait(None))
    try:
        while (answer := await feed.asked.get()) is not None:
            piece = await anext(source, END)
            if not answer.done():
                answer.set_result(piece)
        return putting.result()
    except BaseException:
        if feed.began:
            feed.stop()
            await asyncio.wait({putting}, timeout=GRACE_S)
        raise
    finally:
        putting.cancel()
        putting.add_done_callback(_retrieve_exception)


class _PieceFeed:
    """The iterator over the pieces for the SDK."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self.began = False
        """Whether the SDK has requested a piece, which it does after the server has accepted the upload."""
        self._stopped = asyncio.Event()

    async def pieces(self) -> AsyncIterator[Any]:
        """Request and yield pieces; raise Stopped after `stop`."""
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
        """Raise Stopped at the current or next request of the SDK."""
        self._stopped.set()
        if not self._answer.done():
            self._answer.set_exception(Stopped())
            self._answer.exception()  # so that asyncio does not log that it was never retrieved


class Stopped(Exception):
    """The upload was stopped by its caller."""


def _retrieve_exception(putting: asyncio.Future[Any]) -> None:
    """Retrieve the exception, so that asyncio does not log it."""
    if not putting.cancelled():
        putting.exception()
