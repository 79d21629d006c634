"""Check the arguments of a storage's methods: data, ETags, pieces of a stream and byte ranges."""

from __future__ import annotations

from typing import Final

from llmcore.errors import StorageError

__all__ = ["MAX_FILE_BYTES", "check_data", "check_etag", "check_piece", "check_range"]

MAX_FILE_BYTES: Final = 4 << 30
"""The maximum size of a file that `save` and `load` handle as a whole; streams have no limit."""


def check_data(data: object) -> bytes:
    """Return *data* as bytes.

    Raises:
        StorageError: *data* is not bytes, or is larger than `MAX_FILE_BYTES`.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise StorageError(
            f"data must be bytes, got {type(data).__name__}",
            where="argument data",
            expected="bytes",
            fix="save(key, text.encode())"
            if isinstance(data, str)
            else "convert it to bytes first, for example with json.dumps",
        )
    if memoryview(data).nbytes > MAX_FILE_BYTES:
        raise StorageError(
            f"data must have at most {MAX_FILE_BYTES} bytes, got {memoryview(data).nbytes}",
            where="argument data",
            expected=f"at most {MAX_FILE_BYTES} bytes",
            fix="use save_stream(), which saves in pieces",
        )
    return bytes(data)


def check_etag(etag: object) -> str:
    """Return *etag* if it is text. Otherwise None would mean: save only if no file exists.

    Raises:
        StorageError: *etag* is not text.
    """
    if isinstance(etag, str):
        return etag
    raise StorageError(
        f"etag must be text, got {type(etag).__name__}",
        where="argument etag",
        expected="the ETag that load_with_etag() returned",
        fix="save_if_absent(key, data)" if etag is None else None,
    )


def check_piece(piece: object) -> bytes:
    """Return *piece* of a stream as bytes.

    Raises:
        StorageError: *piece* is not bytes.
    """
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise StorageError(
            f"pieces must be an iterable of bytes, got a piece of type {type(piece).__name__}",
            where="argument pieces",
            expected="an iterable of bytes",
            fix="(piece.encode() for piece in texts)",
        )
    return bytes(piece)


def check_range(start: int, stop: int | None) -> None:
    """Check that *start* and *stop* are valid byte offsets.

    Raises:
        StorageError: An offset is negative.
    """
    if start < 0 or (stop is not None and stop < 0):
        raise StorageError(
            f"start and stop must be at least 0, got {min(start, stop or 0)}",
            where="arguments start and stop",
            expected="offsets in bytes, 0 or more",
        )
