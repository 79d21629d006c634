"""Encode and decode entries and leases. Damaged bytes, foreign bytes and entries of another key are rejected.

::

    magic and version   4 bytes
    CRC-32              4 bytes, over all that follows
    expiry              8 bytes, Unix time in seconds as a double; 0 for never
    generation          16 bytes
    digest of the key   16 bytes
    value

All numbers are little-endian. The entry contains the expiry, because the server counts only whole seconds.
"""

from __future__ import annotations

import math
import time
from hashlib import sha256
from struct import Struct
from typing import Final
from zlib import crc32

__all__ = ["GENERATION_BYTES", "compute_exptime", "pack", "unpack"]

_MAGIC: Final = b"LLM\x01"
_HEAD: Final = Struct("<4sId16s16s")
_CHECKED_FROM: Final = 8
GENERATION_BYTES: Final = 16
_MAX_RELATIVE_S: Final = 30 * 86_400
"""The maximum expiration time in seconds from now. The server reads a larger number as a Unix time."""
_MAX_TIME: Final = 2**31 - 1
"""The largest Unix time that every version of the server accepts."""


def compute_exptime(ttl: float | None) -> int:
    """Return the server's expiration time for *ttl* seconds: never too early, and at most two seconds late."""
    if ttl is None or ttl > _MAX_TIME:
        return 0
    seconds = math.ceil(ttl) + 1  # one more, because the server's clock ticks once a second
    if seconds <= _MAX_RELATIVE_S:
        return seconds
    moment = int(time.time()) + seconds
    return moment if moment <= _MAX_TIME else 0


def pack(name: bytes, value: bytes, ttl: float | None, generation: bytes) -> bytes:
    """Return an entry with *value* that expires after *ttl* seconds.

    *name* is the key of the entry in the server.
    """
    expires = 0.0 if ttl is None else time.time() + ttl
    digest = sha256(name).digest()[:16]
    rest = _HEAD.pack(_MAGIC, 0, expires, generation, digest)[_CHECKED_FROM:]
    return b"".join((_MAGIC, crc32(value, crc32(rest)).to_bytes(4, "little"), rest, value))


def unpack(data: object, name: bytes, generation: object) -> bytes | None:
    """Return the value; None if *data* is not an entry of *name* and *generation*, or has expired."""
    if type(data) is not bytes or len(data) < _HEAD.size:
        return None
    magic, check, expires, made_in, digest = _HEAD.unpack_from(data)
    if magic != _MAGIC or made_in != generation or digest != sha256(name).digest()[:16]:
        return None
    if crc32(memoryview(data)[_CHECKED_FROM:]) != check or (expires and expires <= time.time()):
        return None
    return data[_HEAD.size :]
