"""An entry of the cache contains the encoded value, the refresh time, and the stamps of the tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Entry", "LookUp", "pack", "unpack"]

_MAGIC: Final = b"e1\x00"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One encoded value with its refresh time and tag stamps."""

    due: float = 0.0
    """The time from which the value is due for a refresh in the background, in seconds since 1970; 0 for never."""
    stamps: Mapping[str, bytes] = {}
    """Tag -> the stamp that the tag had when the value was made.

    If the stamp has changed since, the value is a miss.
    """
    data: bytes = b""


class LookUp(NamedTuple):
    """The result of a look-up."""

    hit: bool
    value: Any = None
    due: float = 0.0
    plain: bool = False
    """True if the entry has no tags and no refresh time."""
    unusable: bool = False
    """True if the stored data is invalid or outdated."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Entry)


def pack(entry: Entry) -> bytes:
    """Return the bytes to store. For an entry without tags and refresh time, these are the bytes of the value."""
    if not entry.due and not entry.stamps:
        return entry.data
    return _MAGIC + _encoder.encode(entry)


def unpack(data: bytes) -> Entry | None:
    """Return the entry that was packed; None if *data* is damaged."""
    if not data.startswith(_MAGIC):
        return Entry(data=data)
    try:
        return _decoder.decode(memoryview(data)[len(_MAGIC) :])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
