"""Leases: one of several processes makes a call that all of them want, the others wait for what it keeps."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

from llmcore.builtin import forks
from llmcore.cache.store import CacheStore
from llmcore.calls.drivers import run
from llmcore.calls.steps import Act, sleep

__all__ = ["Leases"]

LEASE_S: Final = 5.0
"""How long a lease outlives its holder; renewed three times as often while the holder works."""
FIRST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 0.1


class Leases:
    """The leases of one process on the keys of one cache. Without a cache that has them, everybody leads."""

    def __init__(self, store: CacheStore, *, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._lease_s = lease_s
        self.renewed()
        forks.renew(self)

    def renewed(self) -> None:
        """See `forks.Renewable`: what is held is the parent's."""
        # The garbage collector may end a call, and forgo its lease, in a thread that is at work here already.
        self._lock = threading.RLock()
        self._held: set[str] = set()
        self._holder = uuid.uuid4().hex
        self._renewing: threading.Event | None = None

    def lead(self, key: str, left: Callable[[], float]) -> Act[bytes | None]:
        """Wait until this process may make the call, or another has kept its result, which is returned.

        Args:
            key: Of the result in the cache.
            left: Seconds that the caller can still wait; afterwards it goes ahead by itself.
        """
        pause = FIRST_PAUSE_S
        while not (taken := (yield from self.take(key))):
            if taken is None:
                return None
            yield sleep(max(0.0, min(pause, left())))
            pause = min(LONGEST_PAUSE_S, pause * 1.5)
            data = yield from self._store.look(key)
            if data is not None or left() <= 0:
                return data
        data = yield from self._store.look(key)  # kept between our look-up and the lease
        if data is not None:
            yield from self.give_back(key)
        return data

    def give_back(self, key: str | None) -> Act[None]:
        """End the lease, if it is ours, when the result is kept or will not be."""
        if self.forgo(key):
            yield from self._store.leased("release", key, self._holder)

    def forgo(self, key: str | None) -> bool:
        """Renew the lease no more; return whether it was held. It runs out by itself."""
        with self._lock:
            held = key in self._held
            self._held.discard(key or "")
        return held

    def close(self) -> None:
        """Renew nothing any more."""
        with self._lock:
            self._held.clear()
            if self._renewing is not None:
                self._renewing.set()
            self._renewing = None

    def take(self, key: str) -> Act[bool | None]:
        """Take the lease; return whether this process has it, None where there are no leases."""
        taken = yield from self._store.leased("acquire", key, self._holder, self._lease_s)
        if taken:
            self._hold(key)
        return taken

    def _hold(self, key: str) -> None:
        with self._lock:
            self._held.add(key)
            if self._renewing is None:
                self._renewing = threading.Event()
                threading.Thread(
                    target=self._renew, args=(self._renewing,), name="llmcore-leases", daemon=True
                ).start()

    def _renew(self, renewing: threading.Event) -> None:
        """Renew what is held, until nothing is."""
        idle_since = time.monotonic()
        while not renewing.wait(self._lease_s / 3):
            with self._lock:
                held = list(self._held)
                if held:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > 2 * self._lease_s:
                    self._renewing = None
                    return
            for key in held:
                run(self._store.leased("acquire", key, self._holder, self._lease_s))
                with self._lock:
                    released = key not in self._held
                if released:  # given back while it was being renewed
                    run(self._store.leased("release", key, self._holder))
