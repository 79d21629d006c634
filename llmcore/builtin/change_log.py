"""A log of the last changes of one namespace, stored in the data file of the cache.

With the log, a memory tier drops only the keys that changed. A record is written in the same transaction as
the change. The slot of a record (its key in LMDB) contains an increasing number. The value of a record
contains the changed key and the number of the transaction. Leases, uses and evictions are not logged, because
the values in a memory tier stay valid after them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["ALL", "BEHIND", "KEPT", "is_change", "read_changes", "record_changes"]

KEPT: Final = 128
"""The maximum number of records of one namespace.

A process that missed more changes clears its memory tier.
"""
ALL: Final = "\0"
"""A record with this text in place of a key means that any key may have changed."""
_PREFIX: Final = b"\0change\0"
BEHIND: Final = b"\0change\1"
"""A slot that sorts after all slots of the log."""
_LONGEST: Final = 256
"""Maximum bytes of a key; a longer key is recorded as `ALL`."""
_NUMBER: Final = struct.Struct(">Q")


def is_change(slot: bytes | memoryview) -> bool:
    """Return whether *slot* belongs to the log.

    Such a slot contains no entry, so the evictor and the sweeper skip it.
    """
    return slot[: len(_PREFIX)] == _PREFIX


def record_changes(txn: Any, namespace: bytes, keys: Sequence[str]) -> None:
    """Record that *keys* were written or deleted in the write transaction *txn*."""
    prefix = _PREFIX + namespace + b"\0"
    encoded = [key.encode("utf-8", "surrogatepass") for key in keys]
    if len(encoded) > KEPT // 4 or any(len(key) > _LONGEST for key in encoded):
        encoded = [ALL.encode()]
    written = _NUMBER.pack(txn.id())
    last = _find_last_number(txn, prefix)
    for number, key in enumerate(encoded, last + 1):
        txn.put(prefix + _NUMBER.pack(number), written + key)
        if number > KEPT:
            txn.delete(prefix + _NUMBER.pack(number - KEPT))


def read_changes(txn: Any, namespace: bytes, since: int) -> list[str] | None:
    """Return the keys that changed after the transaction *since*; None if any key may have changed."""
    prefix = _PREFIX + namespace + b"\0"
    keys: list[str] = []
    for number in range(_find_last_number(txn, prefix), 0, -1):
        value = txn.get(prefix + _NUMBER.pack(number))
        if value is None:  # some records after *since* were already deleted
            return None
        (written,) = _NUMBER.unpack_from(value)
        if written <= since:
            break
        key = bytes(value[_NUMBER.size :]).decode("utf-8", "surrogatepass")
        if key == ALL:
            return None
        keys.append(key)
    return keys


def _find_last_number(txn: Any, prefix: bytes) -> int:
    """Return the number of the newest record; 0 if there is none."""
    with txn.cursor() as cursor:
        is_behind = cursor.set_range(prefix + b"\xff" * (_NUMBER.size + 1))
        is_there = cursor.prev() if is_behind else cursor.last()
        slot = bytes(cursor.key()) if is_there else b""
    return _NUMBER.unpack(slot[len(prefix) :])[0] if slot.startswith(prefix) else 0
