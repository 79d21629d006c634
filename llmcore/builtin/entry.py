"""The bytes of one entry of the cache `file`: nothing that was cut, flipped or put in a wrong place is read.

::

    written             8 bytes, nanoseconds since 1970-01-01 UTC
    expires             8 bytes, the same; 0 for never
    length of the value 4 bytes
    name                magic, version, namespace, NUL, the whole key
    value
    CRC-32              4 bytes, over all that stands before

All numbers are little-endian. The CRC of an entry with its own CRC behind it is always `_RESIDUE`, so one pass over
the whole finds every flipped bit and every burst of up to 32.
"""

from __future__ import annotations

from struct import Struct
from typing import Final
from zlib import crc32

__all__ = ["MAX_VALUE_BYTES", "head_of", "is_over", "is_spent", "name_prefix", "pack", "unpack", "written_of"]

MAX_VALUE_BYTES: Final = 2**31

_MAGIC: Final = b"LLC\x01"
_HEADER: Final = Struct("<QQI")
_head = _HEADER.unpack_from
_NAME_AT: Final = _HEADER.size
_TAIL: Final = 4
_RESIDUE: Final = 0x2144DF1C
_CLOCK_SLACK_NS: Final = 10**9
"""A clock that was set back by less than this does not end an entry before its time."""


def name_prefix(namespace: str) -> bytes:
    """Return what the names of all entries of *namespace* begin with; the key's bytes follow."""
    return _MAGIC + namespace.encode() + b"\0"


def pack(name: bytes, value: bytes, written: int, expires: int) -> bytes:
    """Return the entry's bytes."""
    head = _HEADER.pack(written, expires, len(value)) + name
    return b"".join((head, value, crc32(value, crc32(head)).to_bytes(_TAIL, "little")))


def unpack(data: bytes, name: bytes, now: int) -> bytes | None:
    """Return the value, or None where *data* is damaged, is another name's, or its time is over."""
    if crc32(data) != _RESIDUE or not data.startswith(name, _NAME_AT):
        return None
    written, expires, length = _head(data)
    start = _NAME_AT + len(name)
    if start + length + _TAIL != len(data):
        return None
    if expires and not (written - _CLOCK_SLACK_NS <= now < expires):  # `is_over`, without its call
        return None
    return data[start:-_TAIL]


def written_of(data: bytes) -> int:
    """Return when an entry that `unpack` found whole was written."""
    written: int = _head(data)[0]
    return written


def is_over(written: int, expires: int, now: int) -> bool:
    """Return whether an entry's time is over; one written after *now* has outlived a clock that was set back."""
    return bool(expires) and not (written - _CLOCK_SLACK_NS <= now < expires)


def is_spent(data: bytes | memoryview, now: int) -> bool:
    """Return whether what lies in a slot is of no use: its time is over, or it is no entry."""
    if len(data) < _NAME_AT + _TAIL or data[_NAME_AT : _NAME_AT + len(_MAGIC)] != _MAGIC:
        return True
    written, expires, _ = _head(data)
    return is_over(written, expires, now)


def head_of(data: bytes | memoryview) -> tuple[int, int, bytes] | None:
    """Return when the entry was written and expires, and its name, without reading the value.

    None where *data* is no entry. What is told is not proved: only `unpack` looks at the checksum.
    """
    if len(data) < _NAME_AT + _TAIL:
        return None
    written, expires, length = _head(data)
    end = len(data) - _TAIL - length
    if end < _NAME_AT + len(_MAGIC) or data[_NAME_AT : _NAME_AT + len(_MAGIC)] != _MAGIC:
        return None
    return written, expires, bytes(data[_NAME_AT:end])
