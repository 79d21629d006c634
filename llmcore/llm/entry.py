"""A reply as the cache keeps it, and back."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from llmcore.types import Reply

__all__ = ["KEEPABLE", "due_of", "pack", "unpack"]

KEEPABLE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Reasons of a finished answer; nothing cut, filtered or abandoned is kept."""

_MAGIC: Final = b"llmr1"
_DUE_MAGIC: Final = b"llmr2"
"""Of a reply that is to be asked for anew before its time is over: that moment stands behind the key."""
_DUE: Final = struct.Struct("<d")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Reply)


def pack(key: str, reply: Reply, due: float = 0.0) -> bytes:
    """Return *reply* as bytes that say whose they are: a value found under another key is not believed.

    Args:
        key: Whose they are.
        reply: What is kept.
        due: When it is to be asked for anew, in seconds since 1970; 0 for never.
    """
    if reply.limits is not None:  # true of one moment
        reply = msgspec.structs.replace(reply, limits=None)
    if due:
        return _DUE_MAGIC + key.encode() + _DUE.pack(due) + _encoder.encode(reply)
    return _MAGIC + key.encode() + _encoder.encode(reply)


def unpack(key: str, data: bytes) -> Reply | None:
    """Return the reply, or None where *data* is damaged or another key's."""
    head = _MAGIC + key.encode()
    at = len(head)
    if not data.startswith(head):
        if not data.startswith(_DUE_MAGIC + key.encode()):
            return None
        at += _DUE.size
    try:
        return _decoder.decode(memoryview(data)[at:])
    except msgspec.MsgspecError:
        return None


def due_of(key: str, data: bytes) -> float:
    """Return when what `unpack` found whole is to be asked for anew; 0 for never."""
    if not data.startswith(_DUE_MAGIC):
        return 0.0
    due: float = _DUE.unpack_from(data, len(_DUE_MAGIC) + len(key.encode()))[0]
    return due
