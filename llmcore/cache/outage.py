"""The memory tier during an outage of the backend: the entries that the tier may serve, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llmcore import forks
from llmcore.errors import CacheError
from llmcore.support.bounded_entries import BoundedEntries

__all__ = ["MAX_STALE_S", "Outage"]

MAX_STALE_S: Final = 60.0
"""For this many seconds after an outage begins, older entries are served.

The time is limited because other processes may have invalidated these entries.
"""
_NEW: Final = "\0"
"""Prefix of the keys of entries that were stored during the outage."""


class Outage:
    """The entries that are served during one outage. All entries are dropped when the outage ends.

    Older entries and new entries are in one memory cache, which limits their total size.

    Args:
        entries: The memory tier's entries when the outage began, or an empty cache.
        since: Start of the outage, by *clock*.
        clock: Returns monotonic seconds.
    """

    def __init__(self, entries: BoundedEntries, since: float, clock: Callable[[], float]) -> None:
        self._entries = entries
        self._stale_until = since + MAX_STALE_S
        self._clock = clock
        self._lock = forks.lock()

    def get(self, key: str) -> bytes | None:
        """Return the value stored during the outage, or an older value while it may be served."""
        value = self._entries.get(_NEW + key)
        if value is not None or self._clock() >= self._stale_until:
            return value
        return self._entries.get(key)

    def pin(self, key: str) -> None:
        """If *key* has an older value, serve it until the outage ends, because a new entry may depend on it."""
        with self._lock:
            value = None if self._clock() >= self._stale_until else self._entries.get(key)
            if value is not None:
                self.put(key, value, None)

    def put(self, key: str, value: bytes, ttl: float | None) -> None:
        """Store *value* for *ttl* seconds, but only until the outage ends.

        A value that is too large is not stored.
        """
        with self._lock:
            try:
                self._entries.set(_NEW + key, value, ttl)
            except CacheError:  # the value is larger than the tier
                self._entries.delete(_NEW + key)
            self._entries.delete(key)

    def drop(self, key: str) -> None:
        """Remove one value."""
        with self._lock:
            self._entries.delete(_NEW + key)
            self._entries.delete(key)

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._entries.clear()
