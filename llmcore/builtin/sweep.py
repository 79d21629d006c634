"""Removes from a file cache what has expired, a little with every so many writes, long before the room is needed.

A broom goes round the slots and looks at a window of them at a time: once in as many writes while it finds something,
more often while it finds much, ever more rarely while it finds nothing. What it finds goes with the next write, in the same
transaction: so nothing is written for it alone, and a memory tier in front stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from llmcore.builtin.entry import is_spent
from llmcore.builtin.lease_slots import is_lease, lease_is_over
from llmcore.builtin.lmdb_store import MAX_SLOT_BYTES, Store

__all__ = ["Sweeper", "removed"]

_WINDOW: Final = 64
"""Small, since on a cold disk each of its entries may be a read."""
_LONGEST: Final = 8 * _WINDOW


class Sweeper:
    """The broom of one process."""

    def __init__(self, store: Store, start: bytes, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._at = start + secrets.token_hex(2).encode()
        self._pause = self._left = _WINDOW

    def before_write(self) -> Sequence[bytes]:
        """Return the slots that the coming write is to free."""
        self._left -= 1
        if self._left > 0:
            return ()
        found = self._store.read(self._look, buffers=True)
        if not found:
            self._pause = min(_LONGEST, 2 * self._pause)
        else:
            self._pause = _WINDOW if len(found) <= _WINDOW // 4 else _WINDOW // 4
        self._left = self._pause
        return found

    def _look(self, txn: Any) -> list[bytes]:
        now = self._clock()
        found: list[bytes] = []
        with txn.cursor() as cursor:
            at = b""
            if cursor.set_range(self._at) or cursor.first():
                for slot, data in islice(cursor.iternext(), _WINDOW):
                    if _is_over(slot, data, now):
                        found.append(bytes(slot))
                at = bytes(cursor.key())  # empty at the end, behind which the beginning comes
            self._at = (at + b"\0")[:MAX_SLOT_BYTES]
        return found


def removed(txn: Any, slots: Sequence[bytes], now: int) -> None:
    """Remove what is still over in *slots*."""
    for slot in slots:
        data = txn.get(slot)
        if data is not None and _is_over(slot, data, now):
            txn.delete(slot)


def _is_over(slot: bytes | memoryview, data: memoryview, now: int) -> bool:
    if is_lease(slot):
        return lease_is_over(data, now)
    return is_spent(data, now)
