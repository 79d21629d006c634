"""Sources of a stream, of whatever kind the application has, as the backend's colour takes them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final, TypeAlias

from llmcore.calls.steps import Step
from llmcore.errors import StorageError

__all__ = ["ASource", "Given", "Source"]

PIECE: Final = 1 << 20
"""Bytes that are read from a file at a time."""

Source: TypeAlias = Iterable[bytes] | BinaryIO
ASource: TypeAlias = Iterable[bytes] | BinaryIO | AsyncIterable[bytes]

_END: Final = object()


class Given:
    """The pieces that an application gives for one stream.

    Raises:
        StorageError: *source* is neither an iterable of bytes nor a file that is open for reading bytes; or it can only
            be awaited, and *blocking* says that nobody does.
    """

    def __init__(self, source: Any, *, blocking: bool = False) -> None:
        self._source = source
        self._cancel: Callable[[], object] | None = None
        self.theirs: Exception | None = None
        """What the source raised: the application's own exception, not the backend's."""
        if isinstance(source, str | bytes) or not (
            hasattr(source, "read") or hasattr(source, "__iter__") or hasattr(source, "__aiter__")
        ):
            raise StorageError(
                f"a {type(source).__name__} is no stream",
                expected="an iterable of bytes, or a file opened with 'rb'",
                fix="save(key, data)" if isinstance(source, str | bytes) else None,
            )
        if blocking and hasattr(source, "__aiter__") and not hasattr(source, "__iter__"):
            raise StorageError(
                f"a {type(source).__name__} is an asynchronous stream, which a blocking call cannot read",
                where="argument pieces",
                expected="an iterable of bytes, or a file opened with 'rb'",
                fix="await storage.asave_stream(key, pieces)",
            )

    def step(self, provider: Any, key: str) -> Step:
        """Return the step that has *provider* save the pieces, in whichever colour it has."""
        blocking: Any = getattr(provider, "save_stream", None)
        awaiting: Any = getattr(provider, "asave_stream", None)

        def save() -> None:
            if blocking is not None:
                blocking(key, self._here())
                return
            from llmcore.calls.loop import run_in_loop

            run_in_loop(awaiting(key, self._there()))

        async def asave() -> None:
            if awaiting is not None:
                await awaiting(key, self._there())
            else:
                await self._in_thread(blocking, key)

        return Step(save, asave)

    def _here(self) -> Iterator[bytes]:
        """Yield the pieces of a blocking source."""
        try:
            if hasattr(self._source, "read"):
                yield from iter(lambda: self._source.read(PIECE), b"")
            else:
                yield from self._source
        except Exception as error:
            self.theirs = error
            raise

    async def _there(self) -> AsyncIterator[bytes]:
        """Yield the pieces to an event loop, which a blocking source does not hold up."""
        if hasattr(self._source, "__aiter__"):
            try:
                async for piece in self._source:
                    yield piece
            except Exception as error:
                self.theirs = error
                raise
            return
        import asyncio

        here = self._here()
        while (piece := await asyncio.to_thread(next, here, _END)) is not _END:
            yield piece

    async def _in_thread(self, save: Callable[..., Any], key: str) -> None:
        """Have a thread save; a source of this loop is asked from there, and a cancelled task leaves no thread."""
        import asyncio

        pieces = (
            self._fetched(asyncio.get_running_loop()) if hasattr(self._source, "__aiter__") else self._here()
        )
        saving = asyncio.ensure_future(asyncio.to_thread(save, key, self._until_cancelled(pieces)))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            cancel, self._cancel = self._cancel, _Cancelled.raised
            if cancel is not None:
                cancel()
            await asyncio.wait({saving})
            if not saving.cancelled():
                saving.exception()
            raise

    def _until_cancelled(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self._cancel is _Cancelled.raised:
                raise _Cancelled
            yield piece

    def _fetched(self, loop: Any) -> Iterator[bytes]:
        import asyncio

        source = aiter(self._source)

        async def fetch() -> Any:
            return await anext(source, _END)

        while True:
            asked = asyncio.run_coroutine_threadsafe(fetch(), loop)
            cancelled, self._cancel = self._cancel, asked.cancel
            if cancelled is _Cancelled.raised:
                asked.cancel()
            try:
                piece = asked.result()
            except Exception as error:
                self.theirs = error
                raise
            if piece is _END:
                return
            yield piece


class _Cancelled(Exception):
    """The task that saves was cancelled."""

    @staticmethod
    def raised() -> None:
        """Stand for a cancellation that has happened."""
