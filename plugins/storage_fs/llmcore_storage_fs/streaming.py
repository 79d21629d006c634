"""Streams of the asynchronous colour: threads read and write, and none is left behind where a task is cancelled."""

from __future__ import annotations

import asyncio  # noqa: TID253 - this module is imported at the first such call
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

__all__ = ["loaded", "saved"]

T = TypeVar("T")

_END: Final = object()


async def loaded(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the *pieces* of a blocking generator, and close it."""
    try:
        while (piece := await _finished(lambda: next(pieces, _END))) is not _END:
            yield piece  # type: ignore[misc]  # what is not the end is a piece
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


async def saved(save: Callable[[str, Iterable[bytes]], None], key: str, pieces: AsyncIterable[bytes]) -> None:
    """Have *save* write the *pieces*, which this task goes on fetching as the writing thread asks for them."""
    source = aiter(pieces)
    handed = _Handed(asyncio.get_running_loop(), source)
    writing = asyncio.ensure_future(asyncio.to_thread(save, key, handed))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        handed.stop()
        await asyncio.wait({writing})
        if not writing.cancelled():
            writing.exception()  # it was heard
        raise


class _Handed:
    """The pieces of an asynchronous source, as a thread iterates over them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: AsyncIterator[bytes]) -> None:
        self._loop = loop
        self._source = source
        self._stopped = False
        self._asked: Any = None

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self._asked = asyncio.run_coroutine_threadsafe(self._fetched(), self._loop)
            if self._stopped:  # between the two lines nobody could have been told
                self._asked.cancel()
            piece = self._asked.result()
            if piece is _END:
                return
            yield piece

    def stop(self) -> None:
        """Let the thread fail at the piece that it waits for, or asks for next."""
        self._stopped = True
        if self._asked is not None:
            self._asked.cancel()

    async def _fetched(self) -> Any:
        return await anext(self._source, _END)


async def _finished(work: Callable[[], T]) -> T:
    """Return what *work* returns in a thread. When cancelled, wait for its end: a thread cannot be."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        if not working.cancelled():
            working.exception()
        raise
