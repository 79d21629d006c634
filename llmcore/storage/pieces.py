"""Convert the source of a stream (iterable, file or async iterable) to the sync or async form that the backend needs."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final, TypeAlias

from llmcore.calls.futures import wait_for_all
from llmcore.calls.steps import Step
from llmcore.errors import StorageError
from llmcore.threads import NO_THREAD, run_in_thread

__all__ = ["ASource", "PieceSource", "Source"]

_PIECE: Final = 1 << 20
"""The number of bytes to read from a file at a time."""

Source: TypeAlias = Iterable[bytes] | BinaryIO
ASource: TypeAlias = Iterable[bytes] | BinaryIO | AsyncIterable[bytes]

_END: Final = object()


class PieceSource:
    """The pieces of one stream that the application passes.

    Raises:
        StorageError: *source* is neither an iterable of bytes nor a file opened in binary mode; or it is an
            asynchronous iterable, and the call is *blocking*.
    """

    def __init__(self, source: Any, *, blocking: bool = False) -> None:
        self._source = source
        self._cancel: Callable[[], object] | None = None
        self.error: Exception | None = None
        """The exception that the source raised. The caller gets it unchanged, because the backend did not fail."""
        if isinstance(source, str | bytes) or not (
            hasattr(source, "read") or hasattr(source, "__iter__") or hasattr(source, "__aiter__")
        ):
            raise StorageError(
                f"pieces must be an iterable of bytes, got {type(source).__name__}",
                expected="an iterable of bytes, or a file opened with 'rb'",
                fix="save(key, data)" if isinstance(source, str | bytes) else None,
            )
        if blocking and hasattr(source, "__aiter__") and not hasattr(source, "__iter__"):
            raise StorageError(
                f"pieces must not be asynchronous in a blocking call, got {type(source).__name__}",
                where="argument pieces",
                expected="an iterable of bytes, or a file opened with 'rb'",
                fix="await storage.asave_stream(key, pieces)",
            )

    def make_step(self, provider: Any, key: str) -> Step:
        """Return the step that saves the pieces with the sync or async method of *provider*."""
        blocking: Any = getattr(provider, "save_stream", None)
        awaiting: Any = getattr(provider, "asave_stream", None)

        def save() -> None:
            if blocking is not None:
                blocking(key, self._iterate())
                return
            from llmcore.calls.loop import run_in_loop

            run_in_loop(awaiting(key, self._aiterate()))

        async def asave() -> None:
            if awaiting is not None:
                await awaiting(key, self._aiterate())
            else:
                await self._save_in_thread(blocking, key)

        return Step(save, asave)

    def _iterate(self) -> Iterator[bytes]:
        """Yield the pieces of a blocking source."""
        try:
            if hasattr(self._source, "read"):
                yield from iter(lambda: self._source.read(_PIECE), b"")
            else:
                yield from self._source
        except Exception as error:
            self.error = error
            raise

    async def _aiterate(self) -> AsyncIterator[bytes]:
        """Yield the pieces in an event loop; a thread reads a blocking source."""
        if hasattr(self._source, "__aiter__"):
            try:
                async for piece in self._source:
                    yield piece
            except Exception as error:
                self.error = error
                raise
            return
        here = self._iterate()
        while (piece := await run_in_thread(next, here, _END)) is not _END:
            yield piece

    async def _save_in_thread(self, save: Callable[..., Any], key: str) -> None:
        """Save in a thread.

        If the source is asynchronous, the thread fetches its pieces from this event loop. If this task is cancelled,
        wait until the thread has ended.
        """
        import asyncio

        pieces = (
            self._fetch_from_loop(asyncio.get_running_loop())
            if hasattr(self._source, "__aiter__")
            else self._iterate()
        )
        saved = run_in_thread(
            save,
            key,
            self._stop_if_cancelled(pieces),
            otherwise=_refuse if hasattr(self._source, "__aiter__") else None,
        )
        saving = asyncio.ensure_future(saved)
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            cancel, self._cancel = self._cancel, _Cancelled.mark
            if cancel is not None:
                cancel()
            await wait_for_all([saving])
            raise

    def _stop_if_cancelled(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._cancel is _Cancelled.mark:
                raise _Cancelled
            yield piece

    def _fetch_from_loop(self, loop: Any) -> Iterator[bytes]:
        import asyncio

        source = aiter(self._source)

        async def fetch() -> Any:
            return await anext(source, _END)

        while True:
            asked = asyncio.run_coroutine_threadsafe(fetch(), loop)
            cancelled, self._cancel = self._cancel, asked.cancel
            if cancelled is _Cancelled.mark:
                asked.cancel()
            try:
                piece = asked.result()
            except Exception as error:
                self.error = error
                raise
            if piece is _END:
                return
            yield piece


def _refuse() -> None:
    """Raise the error for an async source if no thread can be started.

    Without a thread, `save` would block the loop, and the source could not run.
    """
    raise StorageError(
        f"an asynchronous stream cannot be saved: {NO_THREAD}",
        expected="a free thread, or pieces from an iterable of bytes",
    )


class _Cancelled(Exception):
    """Raised in the saving thread after the task that waits for it was cancelled."""

    @staticmethod
    def mark() -> None:
        """Do nothing.

        After a cancellation, `PieceSource._cancel` is this method, so a second cancellation has no effect.
        """
