"""What a cache promises: to keep bytes for a while. Keys, encoding and statistics are the host's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


@runtime_checkable
class CacheBatches(Protocol):
    """Gets many values in one go."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return what is there, by key; see `CacheProvider.get`."""
        ...


@runtime_checkable
class CacheMatching(Protocol):
    """Forgets by pattern on its own side, cheaper than key by key."""

    def delete_matching(self, pattern: str) -> int:
        """Forget the keys of our namespace that match; return how many.

        Args:
            pattern: `*` stands for any text, `?` for one character, everything else for itself.
        """
        ...


@runtime_checkable
class CacheLeases(Protocol):
    """Lets one of several processes do what all of them want done."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        """Take the lease on *key*, or renew one's own, for *ttl* seconds; return whether *holder* has it now.

        Atomic among all processes. A lease is no entry: `get`, `keys` and `clear` know nothing of it.
        """
        ...

    def release(self, key: str, holder: str) -> None:
        """Give the lease back, if *holder* has it."""
        ...


@runtime_checkable
class CacheVersion(Protocol):
    """Can tell cheaply that nothing was written, so that a memory tier in front stays true."""

    def version(self) -> int:
        """Return a number that changes with every write, by whichever process."""
        ...


@runtime_checkable
class CacheChanges(Protocol):
    """Reports what others write, so that a memory tier in front stays true."""

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        """Call *changed* from now on, from any thread, with keys that were written or deleted by anybody.

        None in place of keys says that reports are lost: any key may have changed, and nothing may be trusted until
        *changed* is next called with keys, possibly none. The first call says so too: reports have begun. Returns
        whether reports can be had at all.
        """
        ...
