"""A bounded mapping of texts to bytes in one process, with times to live and LRU or LFU eviction.

The cache `memory` and the memory tier of other caches store their entries here.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Literal

from llmcore.errors import CacheError
from llmcore.support import forks
from llmcore.support.frequencies import Frequencies

__all__ = ["BoundedEntries"]

_OVERHEAD_BYTES = 250
"""The memory of an entry in bytes, besides its key and its value; measured on CPython 3.11 and rounded up."""


class BoundedEntries:
    """Store bytes up to a total size. The object is thread-safe, and a forked child may use it too.

    Args:
        max_size: Maximum size of all entries in bytes, with keys and overhead.
        eviction: The entry that is removed first: the least recently used, or the least frequently used.
        clock: A monotonic clock in seconds. Entries expire by this clock.
    """

    def __init__(
        self,
        max_size: int,
        *,
        eviction: Literal["lru", "lfu"] = "lru",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_size = max_size
        self._clock = clock
        self._frequencies = Frequencies() if eviction == "lfu" else None
        self._entries: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._size = 0
        self._lock = forks.lock()
        forks.watch(self)

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        if (
            self._frequencies is None
        ):  # no lock is needed, because each step is one C call; a lock would cost more than all other steps
            entry = self._entries.get(key)
            if entry is not None and (entry[1] is None or entry[1] > self._clock()):
                try:
                    self._entries.move_to_end(key)
                except KeyError:  # another thread has deleted the entry
                    return None
                return entry[0]
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            value, expires = entry
            if expires is not None and expires <= self._clock():
                self._forget(key)
                return None
            if self._frequencies is None:
                self._entries.move_to_end(key)
            else:
                self._frequencies.record_use(key)
            return value

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        data = bytes(value)
        cost = _get_cost(key, data)
        if cost > self._max_size:
            raise CacheError(
                f"an entry of {cost:,} bytes is too large for a memory cache of {self._max_size:,} bytes",
                expected="an entry that is smaller than the cache",
                fix=f'llmcore config set cache.memory.max_size "{2 * cost // 10**6 + 1}MB"',
            )
        expires = None if ttl is None else self._clock() + ttl
        with self._lock:
            if key in self._entries:
                self._forget(key)
            self._size += cost
            while self._size > self._max_size:
                self._forget(
                    next(iter(self._entries)) if self._frequencies is None else self._frequencies.find_least()
                )
            self._entries[key] = (data, expires)
            if self._frequencies is not None:
                self._frequencies.add(key)

    def delete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return False
            self._forget(key)
            return entry[1] is None or entry[1] > self._clock()

    def clear(self) -> None:
        """See `CacheProvider.clear`."""
        with self._lock:
            self._empty()

    def keys(self) -> Iterator[str]:
        """See `CacheKeys.keys`."""
        with self._lock:
            now = self._clock()
            alive = [key for key, (_, expires) in self._entries.items() if expires is None or expires > now]
        yield from alive

    @property
    def size_bytes(self) -> int:
        """The size of all entries, at most `max_size`. Expired entries count until they are removed."""
        return self._size

    def after_fork(self) -> None:
        """Preserve the entries in a forked child, unless another thread was changing them; see `forks.ForkAware`."""
        if not forks.was_free(self._lock):
            self._empty()

    def _empty(self) -> None:
        self._entries.clear()
        self._size = 0
        if self._frequencies is not None:
            self._frequencies = Frequencies()

    def _forget(self, key: str) -> None:
        if self._frequencies is not None:
            self._frequencies.remove(key)
        self._size -= _get_cost(key, self._entries.pop(key)[0])


def _get_cost(key: str, value: bytes) -> int:
    return len(value) + 4 * len(key) + _OVERHEAD_BYTES  # a character takes at most 4 bytes of memory
