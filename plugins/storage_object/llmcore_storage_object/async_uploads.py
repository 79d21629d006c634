"""Asynchronous uploads. The saving task iterates over its source, and a failed upload leaves no parts on the server."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded when a store is first used
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

__all__ = ["END", "GRACE_S", "UploadStopped", "upload"]

END: Final = object()
"""The item after the last piece."""
GRACE_S: Final = 5.0
"""Maximum seconds that a cancelled save waits for the SDK to abort the upload."""


async def upload(put: Callable[[AsyncIterator[Any]], Awaitable[Any]], source: AsyncIterator[Any]) -> Any:
    """Call the SDK's *put* with the pieces of *source*. This task fetches the pieces when the SDK requests them.

    If the source fails or this task is cancelled, the SDK's iterator raises, and the SDK then deletes the uploaded parts.
    Cancelling the SDK's call instead would leave the parts on the server.
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
    """The iterator that the SDK reads pieces from."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self.began = False
        """True if the SDK has requested a piece. The first request comes after the server has accepted the upload."""
        self._stopped = asyncio.Event()

    async def pieces(self) -> AsyncIterator[Any]:
        """Request and yield pieces. Raise UploadStopped after `stop`."""
        while True:
            self.began = True
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._answer = answer
            self.asked.put_nowait(answer)
            if self._stopped.is_set():
                raise UploadStopped
            if (piece := await answer) is END:
                return
            yield piece

    def stop(self) -> None:
        """Make `pieces` raise UploadStopped: at once if the SDK waits for a piece, otherwise at the next request."""
        self._stopped.set()
        if not self._answer.done():
            self._answer.set_exception(UploadStopped())
            self._answer.exception()  # marks the exception as retrieved, because otherwise asyncio logs it


class UploadStopped(Exception):
    """The caller stopped the upload."""


def _retrieve_exception(putting: asyncio.Future[Any]) -> None:
    """Mark the exception as retrieved, because otherwise asyncio logs it."""
    if not putting.cancelled():
        putting.exception()
