"""Leases in the file of a cache: who may do what all processes want done, until when."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any, Final

__all__ = ["acquired", "is_lease", "lease_is_over", "lease_slot", "released"]

_HEAD: Final = struct.Struct("<QQ")
"""When it was taken or renewed, and until when, in nanoseconds since 1970; the holder's name follows."""
_SLACK_NS: Final = 10**9
_PREFIX: Final = b"\0lease\0"


def lease_slot(namespace: str, key: str) -> bytes:
    """Return where the lease on *key* lies: apart from every entry, so that nothing else meets it."""
    return _PREFIX + hashlib.sha256(f"{namespace}\0{key}".encode("utf-8", "surrogatepass")).digest()


def is_lease(slot: bytes | memoryview) -> bool:
    """Return whether a lease may lie in *slot*, and no entry ever."""
    return slot[: len(_PREFIX)] == _PREFIX


def lease_is_over(data: bytes | memoryview, now: int) -> bool:
    """Return whether the lease is anybody's for the taking; also one that is damaged, or of a clock that was set back.

    Else it would last as much longer; a holder that lives renews it by the new clock.
    """
    if len(data) < _HEAD.size:
        return True
    taken, until = _HEAD.unpack_from(data)
    return bool(until <= now or taken > now + _SLACK_NS)


def acquired(slot: bytes, holder: str, now: int, ttl: float) -> Callable[[Any], bool]:
    """Return the work that takes or renews a lease, and tells whether *holder* has it then."""

    def work(txn: Any) -> bool:
        there = txn.get(slot)
        if there is not None and not lease_is_over(there, now) and _holder(there) != holder.encode():
            return False
        txn.put(slot, _HEAD.pack(now, now + int(ttl * 10**9)) + holder.encode())
        return True

    return work


def released(slot: bytes, holder: str) -> Callable[[Any], bool]:
    """Return the work that ends a lease, if *holder* has it."""

    def work(txn: Any) -> bool:
        there = txn.get(slot)
        return there is not None and _holder(there) == holder.encode() and bool(txn.delete(slot))

    return work


def _holder(data: memoryview) -> bytes:
    return bytes(data[_HEAD.size :])
