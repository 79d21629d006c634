"""Encode and decode one entry. Damaged bytes, foreign bytes and entries of another key are rejected.

::

    magic and version   4 bytes
    CRC-32              4 bytes, over all that follows
    length of the value 4 bytes
    digest of the name  16 bytes
    value

All numbers are little-endian.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final
from zlib import crc32

__all__ = ["FIRST_BYTES", "HEADER_BYTES", "compute_size", "pack", "unpack"]

_MAGIC: Final = b"LLR\x01"
_HEAD: Final = Struct("<4sII16s")
_head = _HEAD.unpack_from
_CHECKED_FROM: Final = 8
HEADER_BYTES: Final = _HEAD.size
FIRST_BYTES: Final = 2**16
"""The number of bytes that the first read fetches.

Nearly every entry is smaller. If the value is not an entry of llmcore, no more bytes are read.
"""


def pack(name: bytes, value: bytes) -> bytes:
    """Return the entry of *value*; *name* is the key in the server."""
    checked = len(value).to_bytes(4, "little") + sha256(name).digest()[:16]
    return b"".join((_MAGIC, crc32(value, crc32(checked)).to_bytes(4, "little"), checked, value))


def unpack(data: object, name: bytes) -> bytes | None:
    """Return the value; None if *data* is not a complete entry of *name*."""
    if type(data) is not bytes or len(data) < HEADER_BYTES:
        return None
    magic, check, length, digest = _head(data)
    if magic != _MAGIC or length != len(data) - HEADER_BYTES or digest != sha256(name).digest()[:16]:
        return None
    return data[HEADER_BYTES:] if crc32(memoryview(data)[_CHECKED_FROM:]) == check else None


def compute_size(data: object, name: bytes) -> int:
    """Return the size in bytes of the entry that begins with *data*; 0 if *data* does not begin an entry of *name*."""
    if type(data) is not bytes or len(data) < HEADER_BYTES:
        return 0
    magic, _, length, digest = _head(data)
    return HEADER_BYTES + int(length) if magic == _MAGIC and digest == sha256(name).digest()[:16] else 0
