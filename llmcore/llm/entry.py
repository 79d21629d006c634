"""A reply as the cache keeps it, and back."""

from __future__ import annotations

from typing import Final

import msgspec

from llmcore.types import Reply

__all__ = ["KEEPABLE", "pack", "unpack"]

KEEPABLE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Reasons of a finished answer; nothing cut, filtered or abandoned is kept."""

_MAGIC: Final = b"llmr1"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Reply)


def pack(key: str, reply: Reply) -> bytes:
    """Return *reply* as bytes that say whose they are: a value found under another key is not believed."""
    return _MAGIC + key.encode() + _encoder.encode(reply)


def unpack(key: str, data: bytes) -> Reply | None:
    """Return the reply, or None where *data* is damaged or another key's."""
    head = _MAGIC + key.encode()
    if not data.startswith(head):
        return None
    try:
        return _decoder.decode(memoryview(data)[len(head) :])
    except msgspec.MsgspecError:
        return None
