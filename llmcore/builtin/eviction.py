"""Makes room in a file cache: what has expired goes first, then what was used least, lately or at all.

A hand goes round the entries in the order of their slots, one window at a time, takes the least worth keeping away and
writes the others again side by side, since LMDB joins pages only when they are nearly empty. Slots are scattered over
the ages (see `file_cache`), so the least of a window are among the least of all, and no index of them has to be
written with every entry. That would cost a third of a write again, or a second lookup in every read.

`lru` keeps what was used last, to be exact: written, or noted by `uses`. `lfu` keeps what is used often: it goes by the
count there, which time wears away, and by the last use between equal counts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from llmcore.builtin.entry import head_of, is_over
from llmcore.builtin.lease_slots import is_lease, lease_is_over
from llmcore.builtin.lmdb_store import FullError, Store
from llmcore.builtin.uses import Uses

__all__ = ["Evictor"]

_WINDOW: Final = 256
_WINDOWS_A_SET: Final = 4
_LEAST_BYTES: Final = 64 * 1024
_INLINE: Final = 2000
"""Larger entries have pages of their own, which are free at once."""
_SMALL_RESERVE: Final = 4 * 10**6
_TICK: Final = b"\0tick"
"""In no namespace, since none is empty; the hand takes it for an entry that is damaged, and removes it."""


class _Seen(NamedTuple):
    rank: tuple[int, int]
    """Count and last use: see `Uses.rank`."""
    slot: bytes
    size: int
    data: bytes | None
    """What to write again; None where it stays in its place."""


class Evictor:
    """Keeps one store under *max_size* bytes.

    Several processes may do so at once. Each looks only now and then, and leaves an eighth of the room, of a small
    file a third, to the others and to LMDB, which must write new pages in order to free old ones.
    """

    def __init__(
        self, store: Store, uses: Uses, max_size: int, start: bytes, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._uses = uses
        self._limit = max_size - max(max_size // 8, min(max_size // 3, _SMALL_RESERVE))
        self._step = max_size // 256
        self._clock = clock
        self._credit = 0
        # A process that evicts little must not begin where the one before it did.
        self._hand = start + secrets.token_hex(2).encode()

    def before(self, size: int) -> None:
        """Make room for *size* bytes, as far as that takes moments."""
        self._credit -= size
        if self._credit > 0:
            return
        for _ in range(_WINDOWS_A_SET):
            spare = self._limit - self._store.live_bytes() - size
            if spare > 0 or not self._evict(size):
                break
        self._credit = max(0, min(self._step, spare // 4))

    def after_full(self, size: int, attempt: int) -> None:
        """Make more room, the more the later the *attempt*, where LMDB found none for *size* bytes in a row."""
        self._credit = 0
        self._store.forget_dead_readers()
        evicted = sum(self._evict(size) for _ in range(min(2**attempt, 64)))
        if not (self._tick() and evicted):
            # In a small file a few writes use all pages while one reader of another process has no processor.
            time.sleep(min(2**attempt, 16) / 1000)

    def _tick(self) -> bool:
        """Commit something: LMDB uses the pages that a transaction freed from the next but one on."""
        try:
            self._store.write(lambda txn: txn.put(_TICK, b""))
        except FullError:
            return False
        return True

    def _evict(self, size: int) -> int:
        """Remove *size* bytes and some more, as far as one window has them; return how many."""
        wanted = max(2 * size, _LEAST_BYTES)
        for most in (_WINDOW, _WINDOW // 8, 1):
            try:
                return self._store.write(partial(self._evict_window, wanted=wanted, most=most))
            except FullError:
                continue  # a smaller window needs fewer pages
        return 0

    def _evict_window(self, txn: Any, wanted: int, most: int) -> int:
        expired, alive = self._look(txn, most)
        doomed = {entry.slot for entry in expired}
        freed, last = sum(entry.size for entry in expired), 0
        for entry in sorted(alive)[: max(1, len(alive) // 3)]:
            if freed >= wanted:
                break
            doomed.add(entry.slot)
            freed += entry.size
            last = entry.rank[1]
        if last:
            self._uses.turned_over(self._clock() - last)
        for entry in expired + alive:
            if entry.data is not None or entry.slot in doomed:
                txn.delete(entry.slot)
        for entry in alive:
            if entry.data is not None and entry.slot not in doomed:
                txn.put(entry.slot, entry.data)
        return freed

    def _look(self, txn: Any, most: int) -> tuple[list[_Seen], list[_Seen]]:
        """Return the expired and the other entries of the next window, and move the hand behind it."""
        now = self._clock()
        expired: list[_Seen] = []
        alive: list[_Seen] = []
        with txn.cursor() as cursor:
            for slot, data in _round(cursor, self._hand):
                if len(expired) + len(alive) == most:
                    self._hand = slot
                    break
                if is_lease(slot):
                    if lease_is_over(data, now):
                        expired.append(_Seen((0, 0), slot, len(data), None))
                    continue
                written, expires, _ = head_of(data) or (0, 1, b"")  # what is no entry goes with the expired
                if is_over(written, expires, now):
                    expired.append(_Seen((0, 0), slot, len(data), None))
                    continue
                again = None if len(data) > _INLINE else bytes(data)
                alive.append(_Seen(self._uses.rank(data, written, now), slot, len(data), again))
        return expired, alive


def _round(cursor: Any, start: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield every entry once, from *start* to the end and from the beginning to *start*."""
    if cursor.set_range(start):
        for slot, data in cursor.iternext():
            yield bytes(slot), data
    if cursor.first():
        for slot, data in cursor.iternext():
            if bytes(slot) >= start:
                return
            yield bytes(slot), data
