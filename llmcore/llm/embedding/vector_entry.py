"""Encode vectors as a cache entry, and decode them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from llmcore.types import Embeddings

__all__ = ["pack", "unpack"]

_MAGIC: Final = b"llme1"


class _Entry(msgspec.Struct, array_like=True, gc=False):
    vectors: list[bytes]
    width: int
    """The number of bytes for one number: 4 or 8."""
    model: str
    cost: Decimal | None
    """The cost of the vectors in USD, which a hit saves."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Entry)


def pack(key: str, vectors: Sequence[Sequence[float]], model: str, cost: Decimal | None) -> bytes:
    """Return *vectors* as a cache entry.

    The entry contains its key. An entry under a wrong key is therefore detected. Most servers compute with numbers of
    4 bytes. So the numbers are stored with 4 bytes if none of them loses precision, otherwise with 8.
    """
    packed = [_pack_vector(vector, "f") for vector in vectors]
    width = 4
    if any(
        list(_unpack_vector(data, 4)) != list(vector) for data, vector in zip(packed, vectors, strict=True)
    ):
        packed, width = [_pack_vector(vector, "d") for vector in vectors], 8
    return _MAGIC + key.encode() + _encoder.encode(_Entry(packed, width, model, cost))


def unpack(key: str, data: bytes) -> Embeddings | None:
    """Return the vectors; None if *data* is damaged or belongs to another key.

    `cost` is the original cost of the vectors.
    """
    head = _MAGIC + key.encode()
    if not data.startswith(head):
        return None
    try:
        entry = _decoder.decode(memoryview(data)[len(head) :])
        vectors = [_unpack_vector(vector, entry.width) for vector in entry.vectors]
    except (msgspec.MsgspecError, struct.error):
        return None
    return Embeddings(vectors=vectors, model=entry.model, cost=entry.cost)


def _pack_vector(vector: Sequence[float], kind: str) -> bytes:
    try:
        return struct.pack(f"<{len(vector)}{kind}", *vector)
    except OverflowError:  # a number beyond the range of 4 bytes
        return b""


def _unpack_vector(data: bytes, width: int) -> list[float]:
    return list(struct.unpack(f"<{len(data) // width}{'f' if width == 4 else 'd'}", data))  # noqa: PLR2004 - a float has 4 bytes, a double 8
