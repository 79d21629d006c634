"""What is kept beside a value: when it is due to be made anew, and the stamps of its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Entry", "Found", "pack", "unpack"]

_MAGIC: Final = b"e1\x00"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One kept value, still encoded, and what is kept beside it."""

    due: float = 0.0
    """When it is to be made anew while it is still served, in seconds since 1970; 0 for never."""
    stamps: Mapping[str, bytes] = {}
    """Of its tags; one that has changed since makes the value a miss."""
    data: bytes = b""


class Found(NamedTuple):
    """What a look-up came to."""

    hit: bool
    value: Any = None
    due: float = 0.0
    plain: bool = False
    """Whether nothing but the value is kept: it needs no look at a stamp or a clock."""
    unusable: bool = False
    """Whether there is something under the key that is no value (any more)."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """Return what the cache keeps: the value alone, where there is nothing else to say."""
    if not entry.due and not entry.stamps:
        return entry.data
    return _MAGIC + _encoder.encode(entry)


def unpack(kept: bytes) -> Entry | None:
    """Return what `pack` was given, or None where *kept* is damaged."""
    if not kept.startswith(_MAGIC):
        return Entry(data=kept)
    try:
        return _decoder.decode(memoryview(kept)[len(_MAGIC) :])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
