"""The cache `memory`: bytes of one process, bounded, the entries used longest ago going first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from llmcore.builtin import forks
from llmcore.builtin.frequencies import Frequencies
from llmcore.builtin.patterns import matcher
from llmcore.builtin.plugin import MemoryOptions
from llmcore.errors import CacheError

__all__ = ["MemoryCache"]

OVERHEAD_BYTES = 250
"""What an entry takes beside its key and value, measured on CPython 3.11 and rounded up."""


class MemoryCache:
    """Keeps `llmcore.contracts.CacheProvider`, and its async twin without ever waiting.

    Args:
        options: Bounds.
        clock: Seconds that never go back; entries expire by it.
    """

    def __init__(
        self, options: MemoryOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        options = options or MemoryOptions()
        self._max_size = options.max_size
        self._clock = clock
        self._often = Frequencies() if options.eviction == "lfu" else None
        self._entries: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        forks.watch(self)

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        if self._often is None:  # without the lock, which costs more than the rest: each step is one C call
            found = self._entries.get(key)
            if found is not None and (found[1] is None or found[1] > self._clock()):
                try:
                    self._entries.move_to_end(key)
                except KeyError:  # another thread was quicker to delete it
                    return None
                return found[0]
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            value, expires = entry
            if expires is not None and expires <= self._clock():
                self._forget(key)
                return None
            if self._often is None:
                self._entries.move_to_end(key)
            else:
                self._often.used(key)
            return value

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        kept = bytes(value)
        cost = _cost(key, kept)
        if cost > self._max_size:
            raise CacheError(
                f"an entry of {cost:,} bytes does not fit a memory cache of {self._max_size:,} bytes",
                expected="a value that is smaller than the cache",
                fix=f'llmcore config set cache.memory.max_size "{2 * cost // 10**6 + 1}MB"',
            )
        expires = None if ttl is None else self._clock() + ttl
        with self._lock:
            if key in self._entries:
                self._forget(key)
            self._size += cost
            while self._size > self._max_size:
                self._forget(next(iter(self._entries)) if self._often is None else self._often.least())
            self._entries[key] = (kept, expires)
            if self._often is not None:
                self._often.add(key)

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

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `CacheBatches.get_many`."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def delete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        matches = matcher(pattern)
        return sum(self.delete(key) for key in self.keys() if matches(key))

    def keys(self) -> Iterator[str]:
        """See `CacheKeys.keys`."""
        with self._lock:
            now = self._clock()
            alive = [key for key, (_, expires) in self._entries.items() if expires is None or expires > now]
        yield from alive

    async def aget(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        return self.get(key)

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        self.set(key, value, ttl)

    async def adelete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        return self.delete(key)

    async def aclear(self) -> None:
        """See `CacheProvider.clear`."""
        self.clear()

    async def aget_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `CacheBatches.get_many`."""
        return self.get_many(keys)

    async def adelete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        return self.delete_matching(pattern)

    @property
    def size_bytes(self) -> int:
        """What the entries take, never more than `max_size`; expired ones count until they are met."""
        return self._size

    def fork_locks(self) -> tuple[threading.Lock, ...]:
        """See `forks.ForkAware`."""
        return (self._lock,)

    def after_fork(self, *, at_rest: bool) -> None:
        """See `forks.ForkAware`."""
        self._lock = threading.Lock()
        if not at_rest:
            self._empty()

    def _empty(self) -> None:
        self._entries.clear()
        self._size = 0
        if self._often is not None:
            self._often = Frequencies()

    def _forget(self, key: str) -> None:
        if self._often is not None:
            self._often.remove(key)
        self._size -= _cost(key, self._entries.pop(key)[0])


def _cost(key: str, value: bytes) -> int:
    return len(value) + 4 * len(key) + OVERHEAD_BYTES  # a character takes 1 to 4 bytes
