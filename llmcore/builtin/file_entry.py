"""The format of an entry of the cache `file`.

An entry that is truncated, damaged or in the wrong slot is detected. ::

    written             8 bytes, nanoseconds since 1970-01-01 UTC
    expires             8 bytes, in the same unit; 0 for never
    length of the value 4 bytes
    name                magic, version, namespace, NUL, the whole key
    value
    CRC-32              4 bytes, over all bytes before it

All numbers are little-endian. The CRC-32 over an intact entry, including its CRC, is always `_RESIDUE`. So one pass over the
entry detects every single flipped bit and every burst of up to 32 bits.
"""

from __future__ import annotations

from struct import Struct
from typing import Final
from zlib import crc32

__all__ = [
    "MAX_VALUE_BYTES",
    "is_expired",
    "is_garbage",
    "make_prefix",
    "pack",
    "read_head",
    "read_write_time",
    "unpack",
]

MAX_VALUE_BYTES: Final = 2**31

_MAGIC: Final = b"LLC\x01"
_HEADER: Final = Struct("<QQI")
_head = _HEADER.unpack_from
_NAME_AT: Final = _HEADER.size
_TAIL: Final = 4
_RESIDUE: Final = 0x2144DF1C
_CLOCK_SLACK_NS: Final = 10**9
"""Nanoseconds. An entry is valid if its write time is at most this long after now: the clock may have been set back."""


def make_prefix(namespace: str) -> bytes:
    """Return the prefix of the names in *namespace*. In a name, the bytes of the key follow the prefix."""
    return _MAGIC + namespace.encode() + b"\0"


def pack(name: bytes, value: bytes, written: int, expires: int) -> bytes:
    """Return an entry."""
    head = _HEADER.pack(written, expires, len(value)) + name
    return b"".join((head, value, crc32(value, crc32(head)).to_bytes(_TAIL, "little")))


def unpack(data: bytes, name: bytes, now: int) -> bytes | None:
    """Return the value; None if *data* is damaged, expired or has another name."""
    if crc32(data) != _RESIDUE or not data.startswith(name, _NAME_AT):
        return None
    written, expires, length = _head(data)
    start = _NAME_AT + len(name)
    if start + length + _TAIL != len(data):
        return None
    if expires and not (written - _CLOCK_SLACK_NS <= now < expires):  # `is_expired`, inlined for speed
        return None
    return data[start:-_TAIL]


def read_write_time(data: bytes) -> int:
    """Return the time at which the entry was written. `unpack` must have accepted the entry."""
    written: int = _head(data)[0]
    return written


def is_expired(written: int, expires: int, now: int) -> bool:
    """Return whether an entry has expired.

    An entry with a TTL that was written more than a second after *now* counts as expired too: the clock was set back,
    so the age of the entry is unknown.
    """
    return bool(expires) and not (written - _CLOCK_SLACK_NS <= now < expires)


def is_garbage(data: bytes | memoryview, now: int) -> bool:
    """Return whether *data* can be deleted: the entry has expired, or the data is not an entry."""
    if len(data) < _NAME_AT + _TAIL or data[_NAME_AT : _NAME_AT + len(_MAGIC)] != _MAGIC:
        return True
    written, expires, _ = _head(data)
    return is_expired(written, expires, now)


def read_head(data: bytes | memoryview) -> tuple[int, int, bytes] | None:
    """Return the time of writing, the expiry time and the name; None if *data* is not an entry.

    The checksum is not verified; `unpack` does that.
    """
    if len(data) < _NAME_AT + _TAIL:
        return None
    written, expires, length = _head(data)
    end = len(data) - _TAIL - length
    if end < _NAME_AT + len(_MAGIC) or data[_NAME_AT : _NAME_AT + len(_MAGIC)] != _MAGIC:
        return None
    return written, expires, bytes(data[_NAME_AT:end])
