"""Asynchronous streams. Threads read and write files, and a cancelled task waits for its thread."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded by the first asynchronous stream
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, Final, TypeVar

from llmcore.support.threads import run_in_thread

__all__ = ["load_in_thread", "save_in_thread"]

T = TypeVar("T")

_END: Final = object()


async def load_in_thread(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the *pieces* of a blocking generator. Close the generator at the end."""
    try:
        while (piece := await _run_and_wait(lambda: next(pieces, _END))) is not _END:
            yield piece  # type: ignore[misc]  # the sentinel for the end was handled above
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


async def save_in_thread(
    save: Callable[[str, Iterable[bytes]], None], key: str, pieces: AsyncIterable[bytes]
) -> None:
    """Call *save* in a thread. The event loop fetches the *pieces* that the thread requests."""
    source = aiter(pieces)
    source_iterator = _ThreadedSource(asyncio.get_running_loop(), source)
    writing = asyncio.ensure_future(run_in_thread(save, key, source_iterator, otherwise=_refuse))
    try:
        await asyncio.shield(writing)
    except _NoThreadError:
        pass
    except asyncio.CancelledError:
        source_iterator.stop()
        await _wait_for(writing)
        raise
    else:
        return
    # Without a thread, fetch all pieces first, then write them.
    save(key, [piece async for piece in source])


class _ThreadedSource:
    """A blocking iterator over an asynchronous source. The thread iterates; the event loop fetches."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: AsyncIterator[bytes]) -> None:
        self._loop = loop
        self._source = source
        self._stopped = False
        self._request: Any = None

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self._request = asyncio.run_coroutine_threadsafe(self._fetch_next(), self._loop)
            if self._stopped:  # `stop` ran before the request was stored, and could not cancel it
                self._request.cancel()
            piece = self._request.result()
            if piece is _END:
                return
            yield piece

    def stop(self) -> None:
        """Cancel the current or next request. The iterating thread then gets an exception."""
        self._stopped = True
        if self._request is not None:
            self._request.cancel()

    async def _fetch_next(self) -> Any:
        return await anext(self._source, _END)


class _NoThreadError(Exception):
    """The system could not start a thread. No work was done."""


def _refuse() -> None:
    raise _NoThreadError


async def _run_and_wait(work: Callable[[], T]) -> T:
    """Call *work* in a thread and return its result. A cancelled task waits for the thread, which cannot be cancelled."""
    working = asyncio.ensure_future(run_in_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await _wait_for(working)
        raise


async def _wait_for(working: asyncio.Future[Any]) -> None:
    """Wait until a thread has ended, even if this task is cancelled again. The caller re-raises the cancellation."""
    while not working.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({working})
    if not working.cancelled():
        working.exception()  # marks the exception as retrieved, because otherwise asyncio logs it
