"""Encode a reply as a cache entry, and decode it."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from llmcore.types import Reply

__all__ = ["pack", "read_due", "unpack"]

# Entries of older versions are not read: versions 1 and 2 may contain empty answers, refusals without text and merged
# tool calls; versions 3 and 4 contain only the first choice.
_MAGIC: Final = b"llmr5"
_DUE_MAGIC: Final = b"llmr6"
"""The header of an entry that must be refreshed before its TTL ends. The refresh time follows the key."""
_DUE: Final = struct.Struct("<d")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Reply)


def pack(key: str, reply: Reply, due: float = 0.0) -> bytes:
    """Return *reply* as a cache entry.

    The entry contains its key. An entry under a wrong key is therefore detected.

    Args:
        key: The cache key.
        reply: The reply to cache.
        due: The time to refresh the entry, in seconds since 1970; 0 for never.
    """
    if reply.limits is not None:  # rate limits are valid only at the time of the request
        reply = msgspec.structs.replace(reply, limits=None)
    if due:
        return _DUE_MAGIC + key.encode() + _DUE.pack(due) + _encoder.encode(reply)
    return _MAGIC + key.encode() + _encoder.encode(reply)


def unpack(key: str, data: bytes) -> Reply | None:
    """Return the reply; None if *data* is damaged or belongs to another key."""
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


def read_due(key: str, data: bytes) -> float:
    """Return the time to refresh the entry, in seconds since 1970; 0 for never.

    Call this function only for an entry that `unpack` accepts.
    """
    if not data.startswith(_DUE_MAGIC):
        return 0.0
    due: float = _DUE.unpack_from(data, len(_DUE_MAGIC) + len(key.encode()))[0]
    return due
