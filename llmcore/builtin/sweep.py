"""Remove expired entries from a file cache, a few with each write, before the space is needed.

The sweeper moves through the slots and checks one window at a time. If a window has no expired entry, the number of
writes until the next window doubles, up to 512. If it has 1 to 16 expired entries, that number becomes 64; with more
expired entries, it becomes 16. The write that triggers the check also deletes the expired entries, in the same
transaction as its entry.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from llmcore.builtin.change_log import BEHIND, is_change
from llmcore.builtin.file_entry import is_garbage
from llmcore.builtin.lease_slots import is_lease, is_lease_expired
from llmcore.builtin.lmdb_store import MAX_SLOT_BYTES, Store

__all__ = ["Sweeper", "remove_expired"]

_WINDOW: Final = 64
"""The number of entries in a window. The window is small, because on a cold disk each entry may need a read."""
_LONGEST: Final = 8 * _WINDOW


class Sweeper:
    """The sweeper of one process."""

    def __init__(self, store: Store, start: bytes, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._at = start + os.urandom(2).hex().encode()
        self._pause = self._left = _WINDOW

    def find_expired(self) -> Sequence[bytes]:
        """Return the slots that the current write should delete."""
        self._left -= 1
        if self._left > 0:
            return ()
        expired = self._store.read(self._scan, buffers=True)
        if not expired:
            self._pause = min(_LONGEST, 2 * self._pause)
        else:
            self._pause = _WINDOW if len(expired) <= _WINDOW // 4 else _WINDOW // 4
        self._left = self._pause
        return expired

    def _scan(self, txn: Any) -> list[bytes]:
        now = self._clock()
        expired: list[bytes] = []
        with txn.cursor() as cursor:
            at = b""
            if cursor.set_range(max(self._at, BEHIND)) or cursor.set_range(BEHIND):
                for slot, data in islice(cursor.iternext(), _WINDOW):
                    if _is_expired(slot, data, now):
                        expired.append(bytes(slot))
                at = bytes(cursor.key())  # empty at the end, so the next scan starts at the beginning
            self._at = (at + b"\0")[:MAX_SLOT_BYTES]
        return expired


def remove_expired(txn: Any, slots: Sequence[bytes], now: int) -> None:
    """Delete the entries in *slots* that are still expired."""
    for slot in slots:
        data = txn.get(slot)
        if data is not None and _is_expired(slot, data, now):
            txn.delete(slot)


def _is_expired(slot: bytes | memoryview, data: memoryview, now: int) -> bool:
    if is_change(slot):
        return False
    if is_lease(slot):
        return is_lease_expired(data, now)
    return is_garbage(data, now)
