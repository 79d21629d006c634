"""Eviction of a file cache: first expired entries, then the least used entries, by recency or frequency.

A clock hand walks through the slots (the keys in LMDB), one window of entries at a time. In each window, the entries
with the lowest rank are deleted. Small entries that survive are rewritten next to each other, because LMDB merges
only nearly empty pages. The ages of neighbouring slots are random (see `file_cache`), so the lowest ranks of a window
are among the lowest of all, and no index is needed. An index would make a write a third slower, or add a lookup to
every read.

`lru` ranks by the last use: the time of writing, or the time that `uses` recorded. `lfu` ranks by the count
in `uses`, which decays with time, and then by the last use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from llmcore.builtin.change_log import is_change
from llmcore.builtin.file_entry import is_expired, read_head
from llmcore.builtin.lease_slots import is_lease, is_lease_expired
from llmcore.builtin.lmdb_store import FullError, Store
from llmcore.builtin.use_records import UseRecords

__all__ = ["Evictor"]

_WINDOW: Final = 256
_WINDOWS_A_SET: Final = 4
_LEAST_BYTES: Final = 64 * 1024
_INLINE: Final = 2000
"""Maximum size of an entry that shares a page with other entries.

A larger entry has separate pages, which become free when the entry is deleted.
"""
_SMALL_RESERVE: Final = 4 * 10**6
_TICK: Final = b"\0tick"
"""The slot that `_tick` writes, outside of all namespaces. The clock hand deletes it like a damaged entry."""


class _Candidate(NamedTuple):
    rank: tuple[int, int]
    """Count and last use: see `UseRecords.rank`."""
    slot: bytes
    size: int
    data: bytes | None
    """The bytes of the entry to rewrite; None if the entry need not be rewritten."""


class Evictor:
    """Keep one store below *max_size* bytes.

    Each process leaves an eighth of the space free, or a third in a small file. The free space is needed because
    several processes write at the same time, and each process checks the size only now and then. LMDB also writes new
    pages before it frees old ones.
    """

    def __init__(
        self, store: Store, uses: UseRecords, max_size: int, start: bytes, clock: Callable[[], int]
    ) -> None:
        self._store = store
        self._uses = uses
        self._limit = max_size - max(max_size // 8, min(max_size // 3, _SMALL_RESERVE))
        self._step = max_size // 256
        self._clock = clock
        self._credit = 0
        # Begin at a random slot: otherwise, processes that evict little would all evict the entries after the same
        # slot.
        self._hand = start + os.urandom(2).hex().encode()

    def make_room(self, size: int) -> None:
        """Free space for *size* bytes, with a bounded amount of work."""
        self._credit -= size
        if self._credit > 0:
            return
        for _ in range(_WINDOWS_A_SET):
            spare = self._limit - self._store.count_live_bytes() - size
            if spare > 0 or not self._evict(size):
                break
        self._credit = max(0, min(self._step, spare // 4))

    def make_more_room(self, size: int, attempt: int) -> None:
        """Free more space after LMDB found none for *size* bytes. Each *attempt* frees twice as much as the last."""
        self._credit = 0
        self._store.clear_dead_readers()
        evicted = sum(self._evict(size) for _ in range(min(2**attempt, 64)))
        if not (self._tick() and evicted):
            # LMDB cannot reuse pages while an older reader of another process is suspended. In a small file, a few
            # writes then use up all pages. Give the reader time to continue.
            time.sleep(min(2**attempt, 16) / 1000)

    def _tick(self) -> bool:
        """Commit an empty transaction, because LMDB does not reuse the pages that the last transaction freed."""
        try:
            self._store.write(lambda txn: txn.put(_TICK, b""))
        except FullError:
            return False
        return True

    def _evict(self, size: int) -> int:
        """Delete entries of one window until about twice *size* bytes are free.

        Return the bytes that were freed.
        """
        wanted = max(2 * size, _LEAST_BYTES)
        for most in (_WINDOW, _WINDOW // 8, 1):
            try:
                return self._store.write(partial(self._evict_window, wanted=wanted, most=most))
            except FullError:
                continue  # the transaction found too few free pages: try a smaller window, which needs fewer
        return 0

    def _evict_window(self, txn: Any, wanted: int, most: int) -> int:
        expired, alive = self._scan(txn, most)
        doomed = {entry.slot for entry in expired}
        freed, last = sum(entry.size for entry in expired), 0
        for entry in sorted(alive)[: max(1, len(alive) // 3)]:
            if freed >= wanted:
                break
            doomed.add(entry.slot)
            freed += entry.size
            last = entry.rank[1]
        if last:
            self._uses.record_idle_time(self._clock() - last)
        for entry in expired + alive:
            if entry.data is not None or entry.slot in doomed:
                txn.delete(entry.slot)
        for entry in alive:
            if entry.data is not None and entry.slot not in doomed:
                txn.put(entry.slot, entry.data)
        return freed

    def _scan(self, txn: Any, most: int) -> tuple[list[_Candidate], list[_Candidate]]:
        """Return the expired and the live entries of the next window, and advance the clock hand."""
        now = self._clock()
        expired: list[_Candidate] = []
        alive: list[_Candidate] = []
        with txn.cursor() as cursor:
            for slot, data in _iterate_from(cursor, self._hand):
                if len(expired) + len(alive) == most:
                    self._hand = slot
                    break
                if is_change(slot):
                    continue
                if is_lease(slot):
                    if is_lease_expired(data, now):
                        expired.append(_Candidate((0, 0), slot, len(data), None))
                    continue
                written, expires, _ = read_head(data) or (0, 1, b"")  # a damaged entry counts as expired
                if is_expired(written, expires, now):
                    expired.append(_Candidate((0, 0), slot, len(data), None))
                    continue
                again = None if len(data) > _INLINE else bytes(data)
                alive.append(_Candidate(self._uses.rank(data, written, now), slot, len(data), again))
        return expired, alive


def _iterate_from(cursor: Any, start: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield every entry once: from *start* to the end, then from the beginning to *start*."""
    if cursor.set_range(start):
        for slot, data in cursor.iternext():
            yield bytes(slot), data
    if cursor.first():
        for slot, data in cursor.iternext():
            if bytes(slot) >= start:
                return
            yield bytes(slot), data
