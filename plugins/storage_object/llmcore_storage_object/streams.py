"""Objects in pieces: what is loaded is split, what is saved is checked on its way to the SDK."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from typing import Any, Final

from llmcore.errors import StorageError
from llmcore_storage_object.steps import END, ask, chunk
from llmcore_storage_object.work import Bucket

__all__ = ["ahanded", "handed", "pieces"]

PIECE: Final = 1 << 20
_PAST_THE_END: Final = re.compile(r"status code: 416|status: 416|Invalid range|StartTooLarge|InvalidRange")
_NO_RANGES: Final = re.compile(r"non-partial response|NotPartial")


def pieces(bucket: Bucket, key: str, start: int, stop: int | None) -> Generator[Any, Any, None]:
    """Yield steps, and the object's bytes from *start* to *stop* in pieces."""
    path = bucket.path(key)
    _check_range(start, stop)
    if stop is not None and stop <= start:
        yield from bucket.looked(key, ask("head", bucket.store, path))
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
    if found is None:  # the server sends the whole object whatever part is asked for
        found = yield ask("get", bucket.store, path)
    stream = found.stream(PIECE)
    while left != 0 and (data := (yield chunk(stream))) is not END:
        view = memoryview(data)[skip:]
        skip = max(0, skip - len(data))
        if left is not None:
            view = view[:left]
            left -= len(view)
        for at in range(0, len(view), PIECE):
            yield bytes(view[at : at + PIECE])


def handed(pieces: Iterable[bytes], theirs: list[Exception]) -> Iterator[bytes]:
    """Yield the *pieces*, checked, small ones together; what they raise is noted in *theirs* before it goes on."""
    held = _Held()
    try:
        for piece in pieces:
            if held.full(_checked(piece)):
                yield held.taken()
        yield held.taken()
    except Exception as error:
        theirs.append(error)
        raise


async def ahanded(pieces: AsyncIterable[bytes], theirs: list[Exception]) -> AsyncIterator[bytes]:
    """See `handed`."""
    held = _Held()
    try:
        async for piece in pieces:
            if held.full(_checked(piece)):
                yield held.taken()
        yield held.taken()
    except Exception as error:
        theirs.append(error)
        raise


class _Held:
    """Pieces that wait for others, since each hand-over costs as much as many bytes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def full(self, piece: bytes) -> bool:
        """Add the *piece*, and return whether it is time to go on."""
        self._pieces.append(piece)
        self._size += len(piece)
        return self._size >= PIECE

    def taken(self) -> bytes:
        """Return all in one, and begin anew."""
        whole = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return whole


def _checked(piece: object) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise StorageError(
            f"a stream is saved in pieces of bytes, got {type(piece).__name__}",
            where="argument pieces",
            expected="an iterable of bytes",
            fix="(piece.encode() for piece in texts)",
        )
    return bytes(piece)


def _check_range(start: int, stop: int | None) -> None:
    if start < 0 or (stop is not None and stop < 0):
        raise StorageError(
            f"no position in a file: {min(start, stop or 0)}",
            where="arguments start and stop",
            expected="bytes from the begin of the file, 0 or more",
        )
