"""Streams, copies and moves. If the backend does not support an operation, the method uses whole files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Final

from llmcore.calls.backend_call import call_backend
from llmcore.calls.bridges import END, Ability
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError
from llmcore.storage.backend_calls import BackendCalls, check_key, check_number
from llmcore.storage.pieces import ASource, PieceSource, Source

__all__ = ["StreamedFiles"]

_PIECE: Final = 1 << 20


class StreamedFiles(BackendCalls):
    """Methods that transfer files in pieces, or copy and move them inside of the backend."""

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from offset *start* to *stop*, or to the end, in pieces of at most 16 MiB.

        Offsets are at least 0; a *stop* beyond the end of the file is allowed.

        All pieces are of one version, even if the file is replaced meanwhile. Closing the iterator stops reading.
        """
        return iterate(self._stream_pieces(key, start, stop))

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `load_stream`. Use it with `async for`, without `await`."""
        return aiterate(self._stream_pieces(key, start, stop))

    def save_stream(self, key: str, pieces: Source) -> None:
        """Store *pieces*, an iterable of bytes or an open file, atomically. Replace an existing file.

        If *pieces* raises, the exception is re-raised and an existing file stays unchanged.
        """
        run(self._save_pieces(key, PieceSource(pieces, blocking=True)))

    async def asave_stream(self, key: str, pieces: ASource) -> None:
        """See `save_stream`. *pieces* may also be an asynchronous iterable."""
        await arun(self._save_pieces(key, PieceSource(pieces)))

    def copy(self, source: str, target: str) -> None:
        """Copy the file *source* to *target*. Replace an existing file."""
        run(self._transfer("copy", source, target))

    async def acopy(self, source: str, target: str) -> None:
        """See `copy`."""
        await arun(self._transfer("copy", source, target))

    def move(self, source: str, target: str) -> None:
        """Move the file *source* to *target*.

        The file exists under at least one of the two keys at any time.
        """
        run(self._transfer("move", source, target))

    async def amove(self, source: str, target: str) -> None:
        """See `move`."""
        await arun(self._transfer("move", source, target))

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """Return a URL for a GET or PUT of the file, valid for *expires_s* seconds. Treat it as a secret."""
        return str(run(self._ask("sign_url", key, expires_s, method)))

    async def asign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """See `sign_url`."""
        return str(await arun(self._ask("sign_url", key, expires_s, method)))

    def _stream_pieces(self, key: str, start: int, stop: int | None) -> Generator[Any, Any, None]:
        check_key(key)
        check_number("start", start, 0)
        if stop is not None:
            check_number("stop", stop, 0)
        backend = self._opener()
        if not self._has("load_stream"):
            data = bytes((yield from self._ask("load", key)))[start:stop]
            for at in range(0, len(data), _PIECE):
                yield data[at : at + _PIECE]
            return
        source = backend.open_stream("load_stream", key, start, stop)
        try:
            while (piece := (yield from call_backend(backend, source.next, StorageError))) is not END:
                yield piece
        finally:
            yield source.close

    def _save_pieces(self, key: str, source: PieceSource) -> Act[None]:
        check_key(key)
        backend = self._opener()
        provider = backend.provider if self._has("save_stream") else _WholeFileSaver(backend.require("save"))
        try:
            yield from call_backend(backend, source.make_step(provider, key), StorageError)
        except StorageError:
            if source.error is None:
                raise
        if source.error is not None:
            raise source.error

    def _transfer(self, method: str, source: str, target: str) -> Act[None]:
        check_key(source)
        check_key(target)
        if self._has(method):
            yield from self._ask(method, source, target)
            return
        data = yield from self._ask("load", source)
        if source != target:
            yield from self._ask("save", target, data)
            if method == "move":
                yield from self._ask("delete", source)


class _WholeFileSaver:
    """Saves a stream with a backend that can only save whole files."""

    def __init__(self, save: Ability) -> None:
        self._save = save

    def save_stream(self, key: str, pieces: Iterator[bytes]) -> None:
        step = self._save(key, b"".join(pieces))
        step.blocking(*step.args)

    async def asave_stream(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        step = self._save(key, b"".join([piece async for piece in pieces]))
        if step.awaiting is not None:
            await step.awaiting(*step.args)
