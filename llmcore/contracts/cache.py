"""What a cache promises: to keep bytes for a while. Keys, encoding and statistics are the host's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


@runtime_checkable
class CacheProvider(Protocol):
    """Keeps bytes under text keys, blocking. Several threads may call at once."""

    def get(self, key: str) -> bytes | None:
        """Return the value, byte for byte as it was set, or None where there is none or its time is over.

        A value that is damaged is a miss, never an error and never another value.

        Raises:
            CacheError: The backend cannot be reached. The host then answers the call without it.
        """
        ...

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep *value*, in place of any earlier one, wholly or not at all.

        Args:
            key: Any text of 1 to 512 characters.
            value: Any bytes, none included.
            ttl: Seconds, above 0 and not rounded to 0; None keeps it until it is evicted.

        Raises:
            CacheError: It was not kept.
        """
        ...

    def delete(self, key: str) -> bool:
        """Forget the key; return whether there was something to forget."""
        ...

    def clear(self) -> None:
        """Forget everything that was set through the same options, and nothing of anybody else's."""
        ...


@runtime_checkable
class AsyncCacheProvider(Protocol):
    """Keeps bytes under text keys, asynchronously."""

    async def aget(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        ...

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        ...

    async def adelete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        ...

    async def aclear(self) -> None:
        """See `CacheProvider.clear`."""
        ...


@runtime_checkable
class CacheKeys(Protocol):
    """Can tell which keys it holds."""

    def keys(self) -> Iterator[str]:
        """Yield the keys that are alive, in any order; those set or deleted meanwhile may be missing."""
        ...
