"""Encode a speech as a cache entry, and decode it."""

from __future__ import annotations

from typing import Final

import msgspec

from llmcore.types import Speech

__all__ = ["pack", "unpack"]

_MAGIC: Final = b"llms1"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Speech)


def pack(key: str, speech: Speech) -> bytes:
    """Return *speech* as a cache entry.

    The entry contains its key. An entry under a wrong key is therefore detected.
    """
    return _MAGIC + key.encode() + _encoder.encode(speech)


def unpack(key: str, data: bytes) -> Speech | None:
    """Return the speech; None if *data* is damaged or belongs to another key."""
    head = _MAGIC + key.encode()
    if not data.startswith(head):
        return None
    try:
        return _decoder.decode(memoryview(data)[len(head) :])
    except msgspec.MsgspecError:
        return None
