"""Leases in the cache file. A lease allows one process to compute an entry until a given time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from llmcore.support.digests import start_sha256

__all__ = ["is_lease", "is_lease_expired", "make_acquire", "make_lease_slot", "make_release"]

_HEAD: Final = struct.Struct("<QQ")
"""The time of the last acquisition or renewal, and the expiry time, both in nanoseconds since 1970.

The name of the holder follows.
"""
_SLACK_NS: Final = 10**9
_PREFIX: Final = b"\0lease\0"


def make_lease_slot(namespace: str, key: str) -> bytes:
    """Return the slot of the lease on *key*. No entry has the slot of a lease."""
    return _PREFIX + start_sha256(f"{namespace}\0{key}".encode("utf-8", "surrogatepass")).digest()


def is_lease(slot: bytes | memoryview) -> bool:
    """Return whether *slot* is the slot of a lease."""
    return slot[: len(_PREFIX)] == _PREFIX


def is_lease_expired(data: bytes | memoryview, now: int) -> bool:
    """Return whether the lease has expired or is damaged.

    A lease that was acquired more than a second after *now* has expired too: the clock was set back, so the lease
    would last too long. A holder that is alive renews the lease with the new time.
    """
    if len(data) < _HEAD.size:
        return True
    taken, until = _HEAD.unpack_from(data)
    return bool(until <= now or taken > now + _SLACK_NS)


def make_acquire(slot: bytes, holder: str, now: int, ttl: float) -> Callable[[Any], bool]:
    """Return a function for a write transaction that acquires or renews a lease.

    The function returns whether *holder* has the lease.
    """

    def work(txn: Any) -> bool:
        there = txn.get(slot)
        if there is not None and not is_lease_expired(there, now) and _get_holder(there) != holder.encode():
            return False
        txn.put(slot, _HEAD.pack(now, now + int(ttl * 10**9)) + holder.encode())
        return True

    return work


def make_release(slot: bytes, holder: str) -> Callable[[Any], bool]:
    """Return a function for a write transaction that releases a lease if *holder* has it."""

    def work(txn: Any) -> bool:
        there = txn.get(slot)
        return there is not None and _get_holder(there) == holder.encode() and bool(txn.delete(slot))

    return work


def _get_holder(data: memoryview) -> bytes:
    return bytes(data[_HEAD.size :])
