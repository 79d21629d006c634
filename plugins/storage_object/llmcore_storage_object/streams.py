"""Stream objects. Loading yields pieces; saving checks pieces and combines small ones."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from typing import Any, Final

from llmcore.support.storage_arguments import check_piece, check_range
from llmcore_storage_object.bucket import Bucket
from llmcore_storage_object.io_calls import END, ask, fetch_next

__all__ = ["aiterate_checked", "iterate_checked", "iterate_pieces"]

_PIECE: Final = 1 << 20
_PAST_THE_END: Final = re.compile(r"status code: 416|status: 416|Invalid range|StartTooLarge|InvalidRange")
_NO_RANGES: Final = re.compile(r"non-partial response|NotPartial")


def iterate_pieces(bucket: Bucket, key: str, start: int, stop: int | None) -> Generator[Any, Any, None]:
    """Yield calls, then the object's bytes from *start* to *stop* in pieces."""
    path = bucket.make_path(key)
    check_range(start, stop)
    if stop is not None and stop <= start:
        yield from bucket.head_object(key, ask("head", bucket.store, path))
        return
    whole = start == 0 and stop is None
    options: Any = None if whole else {"range": {"offset": start} if stop is None else (start, stop)}
    skip, left = 0, None if stop is None else stop - start
    try:
        found = yield ask("get", bucket.store, path, options=options)
    except Exception as error:
        if _PAST_THE_END.search(str(error)):
            return
        if not _NO_RANGES.search(str(error)):
            raise
        found, skip = None, start
    if found is None:  # the server ignored the range and sends the whole object
        found = yield ask("get", bucket.store, path)
    stream = found.stream(_PIECE)
    while left != 0 and (data := (yield fetch_next(stream))) is not END:
        view = memoryview(data)[skip:]
        skip = max(0, skip - len(data))
        if left is not None:
            view = view[:left]
            left -= len(view)
        for at in range(0, len(view), _PIECE):
            yield bytes(view[at : at + _PIECE])


def iterate_checked(pieces: Iterable[bytes], source_errors: list[Exception]) -> Iterator[bytes]:
    """Check *pieces*, combine small ones, and yield the result. Add an exception of the source to *source_errors*."""
    buffer = _PieceBuffer()
    try:
        for piece in pieces:
            if buffer.add(check_piece(piece)):
                yield buffer.take()
        yield buffer.take()
    except Exception as error:
        source_errors.append(error)
        raise


async def aiterate_checked(
    pieces: AsyncIterable[bytes], source_errors: list[Exception]
) -> AsyncIterator[bytes]:
    """See `iterate_checked`."""
    buffer = _PieceBuffer()
    try:
        async for piece in pieces:
            if buffer.add(check_piece(piece)):
                yield buffer.take()
        yield buffer.take()
    except Exception as error:
        source_errors.append(error)
        raise


class _PieceBuffer:
    """Combines small pieces, because each call of the SDK is expensive."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> bool:
        """Add *piece*. Return whether the buffer is full."""
        self._pieces.append(piece)
        self._size += len(piece)
        return self._size >= _PIECE

    def take(self) -> bytes:
        """Return the joined pieces and empty the buffer."""
        whole = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return whole
