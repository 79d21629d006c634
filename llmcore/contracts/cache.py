"""The contract of a cache, which stores bytes for a limited time. The host makes keys, encodes values and counts hits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

__all__ = [
    "AsyncCacheProvider",
    "CacheBatches",
    "CacheChanges",
    "CacheDiagnosis",
    "CacheHistory",
    "CacheKeys",
    "CacheLeases",
    "CacheMatching",
    "CacheProvider",
    "CacheVersion",
]


@runtime_checkable
class CacheProvider(Protocol):
    """Store bytes under text keys, blocking. Several threads may call at the same time."""

    def get(self, key: str) -> bytes | None:
        """Return the value exactly as it was set; None if the key does not exist or has expired.

        A damaged value is a miss, never an error or a different value.

        Raises:
            CacheError: The backend cannot be reached. The host then answers the call without the cache.
        """
        ...

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Store *value* atomically. Replace an existing value.

        Args:
            key: Any text of 1 to 512 characters.
            value: Any bytes, also empty. A backend may refuse values of 1 MB and more.
            ttl: Time to live in seconds, greater than 0; do not round a fraction down to 0. None means that the value
                stays until it is evicted.

        Raises:
            CacheError: The value was not stored. If the value is too large, delete an older value of the key, and name
                the size in the message. Do not raise `CacheUnavailable` then, because the host would stop using the
                backend for a while.
        """
        ...

    def delete(self, key: str) -> bool:
        """Delete the entry; return whether it existed."""
        ...

    def clear(self) -> None:
        """Delete all entries that this cache, or another cache with the same options, has stored. Keep other entries."""
        ...


@runtime_checkable
class AsyncCacheProvider(Protocol):
    """Store bytes under text keys, asynchronously."""

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
    """List keys."""

    def keys(self) -> Iterator[str]:
        """Yield the keys that have not expired, in any order.

        Keys that are set or deleted meanwhile may be missing.
        """
        ...


@runtime_checkable
class CacheBatches(Protocol):
    """Get many values with one request."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return the values that exist, by key; see `CacheProvider.get`."""
        ...


@runtime_checkable
class CacheMatching(Protocol):
    """Delete by pattern inside of the backend, faster than key by key."""

    def delete_matching(self, pattern: str) -> int:
        """Delete the entries of this backend's namespace whose key matches; return their number.

        Args:
            pattern: `*` matches any text, and `?` matches one character. Other characters match themselves.
        """
        ...


@runtime_checkable
class CacheLeases(Protocol):
    """Grant a lease to one of several processes. The holder computes an entry, and the others wait for the entry."""

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        """Acquire the lease on *key* for *ttl* seconds, or renew it; return whether *holder* has it now.

        The operation is atomic among all processes. A lease is not an entry: `get`, `keys` and `clear` ignore it.
        """
        ...

    def release(self, key: str, holder: str) -> None:
        """Release the lease if *holder* has it."""
        ...


@runtime_checkable
class CacheVersion(Protocol):
    """Detect at low cost that any process has written to the cache. The host adds a memory tier to such a cache."""

    def version(self) -> int:
        """Return a number that changes with every write by any process."""
        ...


@runtime_checkable
class CacheHistory(CacheVersion, Protocol):
    """Report which keys changed last, so that the memory tier drops only these keys."""

    def changes_since(self, version: int) -> tuple[int, Sequence[str] | None]:
        """Return the current version, and the keys that were written or deleted after *version*.

        None in place of the keys means that any key may have changed. Acquiring or releasing a lease is not a change.
        """
        ...


@runtime_checkable
class CacheChanges(Protocol):
    """Report the keys that other processes write. The host adds a memory tier to such a cache."""

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        """Call *changed* from now on, from any thread, with the keys that any process wrote or deleted.

        None instead of keys means that reports were lost: any key may have changed. After that, the next call with
        keys (an empty sequence is enough) means that reports are complete again. Reports begin with the first call
        with keys. Return whether the backend can report changes at all.
        """
        ...


@runtime_checkable
class CacheDiagnosis(Protocol):
    """Report which methods do not keep their contract, for `llmcore doctor` and `llmcore cache stats`."""

    def unavailable(self) -> Mapping[str, str]:
        """Return one line with the reason for each method that fails or guarantees less than its contract.

        The keys are the names of sync methods. The mapping is empty if every method works. For example:
        `{"acquire": "the user may not run EVAL: leases are acquired by SET NX PX"}`. Query the server, and change no
        entry.

        Raises:
            CacheError: The backend cannot be reached.
        """
        ...
