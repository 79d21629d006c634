"""The memory tier: a cache in this process in front of the backend.

The tier contains only values that are known to be current.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from llmcore import forks
from llmcore.cache.outage import Outage
from llmcore.errors import CacheError
from llmcore.interrupts import is_interrupt
from llmcore.support.bounded_entries import BoundedEntries

__all__ = ["Tier"]


class Tier:
    """A memory cache in front of a backend. The tier notices the writes of other processes in one of two ways.

    If the backend has the method `version`, the tier calls the method at each look-up, so the method must be fast. If
    the backend has the method `watch`, the backend reports each changed key. A backend without either method has no
    tier.

    While the version or the reports are missing, the tier serves no entry. With *outages*, the tier keeps its entries:
    if the circuit breaker opens, `begin_outage` moves them to an `Outage`, which may serve them for a while.

    Args:
        provider: The backend.
        size: Maximum size in bytes.
        outages: True to keep the entries for an outage. If False, all entries are dropped as soon as the version or the
            reports are missing.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, provider: Any, size: int, *, outages: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._outages = outages
        self._clock = clock
        self._epoch: int | None = 0
        """The state of the backend that the entries match: the backend's version, or the number of reports.

        None means that no entry is valid.
        """
        self._lock = forks.lock()
        self._entries = BoundedEntries(size, clock=clock)
        self._outage: Outage | None = None
        self._lost_at: float | None = None
        """The time since which the version or the reports are missing; None if nothing is missing.

        For a backend with a version, this is the time at which the version was last read.
        """
        self._valid_at = clock()
        """The time at which the version was last read and the entries were known to be current."""
        forks.watch(self)
        self._listening = False
        self._version: Callable[[], int] | None = getattr(provider, "version", None)
        self._changes_since: Callable[[int], tuple[int, Sequence[str] | None]] | None
        self._changes_since = getattr(provider, "changes_since", None)
        if self._version is not None:
            self._epoch = self._get_version()
            self._listening = True

    def after_fork(self) -> None:
        """Drop the entries in a forked child, because the backend's reports go to the parent; see `forks.ForkAware`.

        If the cache is in an outage, the outage continues: the entries served during an outage do not depend on the
        reports, and the time limit of an outage applies in both processes.
        """
        self._entries = BoundedEntries(self._size, clock=self._clock)

    @classmethod
    def make(
        cls,
        provider: Any,
        size: int,
        *,
        outages: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> Tier | None:
        """Return a tier, or None if *provider* cannot report changes or *size* is 0."""
        if not size:
            return None
        tier = cls(provider, size, outages=outages, clock=clock)
        if hasattr(provider, "version"):
            return tier
        if hasattr(provider, "watch"):
            return tier if provider.watch(tier.handle_changes) else None
        return None

    def get_epoch(self) -> int | None:
        """Return the current state of the backend; see `put`."""
        if self._version is None:
            return self._epoch
        version = self._get_version()
        self._synchronise(version)
        if version is not None:
            self._valid_at = self._clock()
        return version

    def get(self, key: str) -> bytes | None:
        """Return the value; None if it is missing or may be outdated."""
        if self._version is not None:
            version = self._get_version()
            if version != self._epoch or self._lost_at is not None:
                self._synchronise(version)
            if version is None:
                return None
            self._valid_at = self._clock()
        return self._entries.get(key) if self._listening else None

    def look_up(self, key: str) -> tuple[bytes | None, int | None]:
        """Return the value as `get` does, and the state of the backend.

        After a miss, the caller reads the backend, and passes the backend's value and this state to `put`.

        The state is the one that `get` found. If the backend has changed since, the next look-up drops the changed
        keys.
        """
        value = self.get(key)
        return value, self._epoch if self._lost_at is None else None

    def put(self, key: str, value: bytes, expires: float, epoch: int | None) -> None:
        """Store *value*, which was read from or written to the backend.

        Args:
            key: The key of the value.
            value: The value in the backend.
            expires: Expiry in seconds since 1970; 0 for never.
            epoch: The state that `epoch`, `look_up` or `record_write` returned. If the state has changed since then,
                the value may be outdated, so it is not stored.
        """
        ttl = expires - time.time() if expires else None
        with self._lock:
            is_current = (
                self._listening and self._outage is None and epoch is not None and epoch == self._epoch
            )
            if is_current and (ttl is None or ttl > 0):
                try:
                    self._entries.set(key, value, ttl)
                except CacheError:  # the value is larger than the tier
                    self._entries.delete(key)
                return
            self._entries.delete(key)  # remove the older value of the key
            if self._outage is not None:
                self._outage.drop(key)

    def drop(self, key: str) -> None:
        """Remove one value from the tier. Called before the value is written to the backend, or deleted from it."""
        self._entries.delete(key)

    def record_write(self, epoch: int | None) -> int | None:
        """Record one write of this process to a backend with a version; return the state after the write."""
        if self._version is None or epoch is None:
            return epoch
        with self._lock:
            now = self._get_version()
            if self._epoch == epoch and now == epoch + 1:  # no other process has written
                self._epoch = now
        return now

    def clear(self) -> None:
        """Remove all values."""
        with self._lock:
            self._change_epoch()
            self._entries.clear()

    def handle_changes(self, keys: Sequence[str] | None) -> None:
        """Handle a report about changed keys; see `CacheChanges.watch`."""
        with self._lock:
            self._change_epoch()
            if keys is None:
                self._listening = False
                self._mark_lost()
                return
            if not self._listening:  # changes were not reported for some time, so any key may have changed
                self._listening, self._lost_at = True, None
                self._entries.clear()
                if self._outage is not None:
                    self._outage.clear()
            for key in keys:
                self._entries.delete(key)
                if self._outage is not None:
                    self._outage.drop(key)

    def begin_outage(self) -> Outage:
        """Move the entries to an outage.

        If the version or the reports went missing earlier, the outage starts at that time, otherwise now.
        """
        if self._version is not None:
            self._synchronise(self._get_version())
        with self._lock:
            since = self._clock() if self._lost_at is None else self._lost_at
            self._outage = Outage(self._entries, since, self._clock)
            self._entries = BoundedEntries(self._size, clock=self._clock)
            return self._outage

    def end_outage(self) -> None:
        """End the outage and start empty, since the backend answers again."""
        with self._lock:
            self._outage = self._lost_at = None
            self._change_epoch()
            self._entries.clear()

    def _change_epoch(self) -> None:
        """Invalidate the reads in progress: `put` will ignore their values."""
        if self._version is not None:
            self._epoch = None
        elif self._epoch is not None:
            self._epoch += 1

    def _mark_lost(self) -> None:
        """Record that version or reports are missing."""
        if not self._outages:
            self._entries.clear()
        elif self._lost_at is None:
            self._lost_at = self._clock() if self._version is None else self._valid_at

    def _get_version(self) -> int | None:
        """Return the version of the backend; None if the backend fails."""
        assert self._version is not None  # noqa: S101 - for the type checker; it is always true
        try:
            return self._version()
        except BaseException as error:
            if is_interrupt(error):
                raise
            return None

    def _synchronise(self, version: int | None) -> None:
        """Remove the entries that changed between `_epoch` and *version*."""
        with self._lock:
            if version is None:
                self._mark_lost()
                return
            self._lost_at = None
            if version == self._epoch:
                return
            self._epoch, changed = self._find_changes(version)
            if changed is None:
                self._entries.clear()
                return
            for key in changed:
                self._entries.delete(key)

    def _find_changes(self, version: int) -> tuple[int, Sequence[str] | None]:
        """Return the version of the backend, and the keys that changed since `_epoch`.

        The keys are None if any key may have changed.
        """
        if self._changes_since is None or self._epoch is None:
            return version, None
        try:
            return self._changes_since(self._epoch)
        except BaseException as error:
            if is_interrupt(error):
                raise
            return version, None
