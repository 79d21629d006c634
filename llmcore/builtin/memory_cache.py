"""The cache `memory`: a bounded cache in one process, with LRU or LFU eviction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from llmcore.builtin.options import MemoryOptions
from llmcore.support.bounded_entries import BoundedEntries
from llmcore.support.key_patterns import compile_pattern

__all__ = ["MemoryCache"]


class MemoryCache(BoundedEntries):
    """Implement `llmcore.contracts.CacheProvider`, sync and async; the async methods never wait.

    Args:
        options: Size and eviction.
        clock: A monotonic clock in seconds. Entries expire by this clock.
    """

    def __init__(
        self, options: MemoryOptions | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        options = options or MemoryOptions()
        super().__init__(options.max_size, eviction=options.eviction, clock=clock)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `CacheBatches.get_many`."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def delete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        matches = compile_pattern(pattern)
        return sum(self.delete(key) for key in self.keys() if matches(key))

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
