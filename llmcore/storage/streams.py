"""Files in pieces, copies and moves; a backend that lacks them is helped out with whole files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Final

from llmcore.calls.asking import asked
from llmcore.calls.bridges import END, Ability
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError
from llmcore.storage.asking import Asking, checked_key, checked_number
from llmcore.storage.pieces import ASource, Given, Source

__all__ = ["StreamedFiles"]

_PIECE: Final = 1 << 20
_NO_POSITION: Final = "no position in a file"


class StreamedFiles(Asking):
    """What goes piece by piece, or not through the application at all."""

    def load_stream(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the file's bytes from *start* up to *stop*, as a slice takes them, in pieces of at most 16 MiB.

        All are of one version, even where the file is replaced meanwhile. Closing the iterator ends the reading.
        """
        return iterate(self._pieces(key, start, stop))

    def aload_stream(self, key: str, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `load_stream`; to be used with `async for`, without `await`."""
        return aiterate(self._pieces(key, start, stop))

    def save_stream(self, key: str, pieces: Source) -> None:
        """Keep the *pieces*, an iterable of bytes or an open file, in place of what was there: wholly or not at all.

        What *pieces* raises is let through, and then what was there is untouched.
        """
        run(self._streamed(key, Given(pieces, blocking=True)))

    async def asave_stream(self, key: str, pieces: ASource) -> None:
        """See `save_stream`; *pieces* may be an asynchronous iterable too."""
        await arun(self._streamed(key, Given(pieces)))

    def copy(self, source: str, target: str) -> None:
        """Store what is under *source* under *target* too, in place of what was there."""
        run(self._transferred("copy", source, target))

    async def acopy(self, source: str, target: str) -> None:
        """See `copy`."""
        await arun(self._transferred("copy", source, target))

    def move(self, source: str, target: str) -> None:
        """Store what is under *source* under *target* instead; at no moment it is under neither."""
        run(self._transferred("move", source, target))

    async def amove(self, source: str, target: str) -> None:
        """See `move`."""
        await arun(self._transferred("move", source, target))

    def sign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """Return an address that lets its holder GET or PUT the file for *expires_s* seconds: treat it as a secret."""
        return str(run(self._ask("sign_url", key, expires_s, method)))

    async def asign_url(self, key: str, expires_s: float = 3600.0, method: str = "GET") -> str:
        """See `sign_url`."""
        return str(await arun(self._ask("sign_url", key, expires_s, method)))

    def _pieces(self, key: str, start: int, stop: int | None) -> Generator[Any, Any, None]:
        checked_key(key)
        checked_number("start", start, 0, _NO_POSITION)
        if stop is not None:
            checked_number("stop", stop, 0, _NO_POSITION)
        backend = self._opener()
        if not self._has("load_stream"):
            data = bytes((yield from self._ask("load", key)))[start:stop]
            for at in range(0, len(data), _PIECE):
                yield data[at : at + _PIECE]
            return
        source = backend.source("load_stream", key, start, stop)
        try:
            while (piece := (yield from asked(backend, source.next, StorageError))) is not END:
                yield piece
        finally:
            yield source.close

    def _streamed(self, key: str, given: Given) -> Act[None]:
        checked_key(key)
        backend = self._opener()
        provider = backend.provider if self._has("save_stream") else _Whole(backend.must("save"))
        try:
            yield from asked(backend, given.step(provider, key), StorageError)
        except StorageError:
            if given.theirs is None:
                raise
        if given.theirs is not None:
            raise given.theirs

    def _transferred(self, method: str, source: str, target: str) -> Act[None]:
        checked_key(source)
        checked_key(target)
        if self._has(method):
            yield from self._ask(method, source, target)
            return
        data = yield from self._ask("load", source)
        if source != target:
            yield from self._ask("save", target, data)
            if method == "move":
                yield from self._ask("delete", source)


class _Whole:
    """Saves a stream through a backend that takes whole files alone."""

    def __init__(self, save: Ability) -> None:
        self._save = save

    def save_stream(self, key: str, pieces: Iterator[bytes]) -> None:
        step = self._save(key, b"".join(pieces))
        step.blocking(*step.args)

    async def asave_stream(self, key: str, pieces: AsyncIterator[bytes]) -> None:
        step = self._save(key, b"".join([piece async for piece in pieces]))
        if step.awaiting is not None:
            await step.awaiting(*step.args)
