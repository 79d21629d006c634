"""The lease of a cache key: its holder, one of several processes, makes the call; the others wait for the cached result."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from llmcore import forks
from llmcore.cache.store import CacheStore
from llmcore.calls.drivers import run
from llmcore.calls.steps import Act, Expired, sleep
from llmcore.threads import start_thread

__all__ = ["LEASE_S", "Leases"]

T = TypeVar("T")

LEASE_S: Final = 5.0
"""TTL of a lease in seconds. While the holder works, the lease is renewed after each third of the TTL."""
_FIRST_PAUSE_S: Final = 0.01
_MAX_PAUSE_S: Final = 0.1


class Leases:
    """The leases of one process on the keys of one cache.

    If the cache has no leases, every process makes the call itself.
    """

    def __init__(self, store: CacheStore, *, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._lease_s = lease_s
        # Re-entrant: in a thread that holds this lock, the garbage collector may end a call, which takes the lock to
        # abandon the call's lease.
        self._lock = forks.lock()
        self._start()
        forks.watch(self)

    def after_fork(self) -> None:
        """Drop the leases in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        self._start()

    def _start(self) -> None:
        self._held: dict[str, int] = {}
        """Key -> number of calls that use the lease.

        The number is greater than 1 if a second call begins while the first is being cancelled.
        """
        self._holder = uuid.uuid4().hex
        self._renewing: threading.Event | None = None

    def acquire_or_wait(self, key: str, left: Callable[[], float]) -> Act[tuple[bytes | None, bool]]:
        """Acquire the lease, or wait until another process has stored the result.

        Args:
            key: The key of the result in the cache.
            left: Returns the seconds that the caller can still wait. After that, the caller continues without
                a lease.

        Returns:
            Two values: the result that another process has stored, or None; and True if the caller has the lease.
            `hold` releases the lease.
        """
        pause = _FIRST_PAUSE_S
        while not (is_acquired := (yield from self.acquire(key))):
            if is_acquired is None:
                return None, False
            yield sleep(max(0.0, min(pause, left())))
            pause = min(_MAX_PAUSE_S, pause * 1.5)
            data = yield from self._store.read(key)
            if data is not None or left() <= 0:
                return data, False
        # Another process may have stored the value after our last look-up.
        data = yield from self._guard(key, self._store.read(key))
        if data is not None:
            yield from self._release(key)
        return data, data is None

    def hold(self, key: str | None, work: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run *work* and release the lease on *key*, also if the work fails or is cancelled.

        Args:
            key: The key of the lease that the caller has; None if the caller has no lease.
            work: The work that the lease protects.
        """
        if key is None:
            return (yield from work)
        result = yield from self._guard(key, work)
        yield from self._release(key)
        return result

    def acquire(self, key: str) -> Act[bool | None]:
        """Acquire the lease; return whether this process has the lease.

        The result is None if the backend failed or has no leases. A cancelled caller does not have the lease,
        even if the backend has granted it.
        """
        try:
            is_acquired = yield from self._store.call_lease_operation(
                "acquire", key, self._holder, self._lease_s
            )
        except GeneratorExit:  # a closing generator must not yield the release
            raise
        except BaseException:
            with self._lock:
                held = key in self._held
            if not held:
                yield from self._release_in_backend(key)
            raise
        if is_acquired:
            self._record_acquired(key)
        return is_acquired

    def _guard(self, key: str, work: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run *work*; release the lease if *work* fails or is cancelled."""
        try:
            return (yield from work)
        except GeneratorExit:  # a closing generator must not yield the release, so the lease expires
            self._abandon(key)
            raise
        except BaseException:
            yield from self._release(key)
            raise

    def _release(self, key: str) -> Act[None]:
        if self._abandon(key):
            yield from self._release_in_backend(key)

    def _release_in_backend(self, key: str) -> Act[None]:
        try:
            yield from self._store.call_lease_operation("release", key, self._holder)
        except GeneratorExit:
            raise
        except Expired:  # the step ran out of time: try once more to release the lease
            yield from self._store.call_lease_operation("release", key, self._holder)
        # The step may have been cancelled before it began. Release again, which does no harm.
        except BaseException:
            yield from self._store.call_lease_operation("release", key, self._holder)
            raise

    def _abandon(self, key: str) -> bool:
        """Stop renewing the lease, unless another call of this process also holds the lease.

        Return True if this call was the last one that held the lease.
        """
        with self._lock:
            left = self._held.get(key, 0) - 1
            if left > 0:
                self._held[key] = left
            else:
                self._held.pop(key, None)
        return left == 0

    def close(self) -> None:
        """Stop renewing leases."""
        with self._lock:
            self._held.clear()
            if self._renewing is not None:
                self._renewing.set()
            self._renewing = None

    def _record_acquired(self, key: str) -> None:
        with self._lock:
            self._held[key] = self._held.get(key, 0) + 1
            if self._renewing is None:
                renewing = threading.Event()
                thread = threading.Thread(
                    target=self._renew_all, args=(renewing,), name="llmcore-leases", daemon=True
                )
                # Without a thread, the lease expires and another process makes the call too.
                if start_thread(thread):
                    self._renewing = renewing

    def _renew_all(self, renewing: threading.Event) -> None:
        """Renew all leases of this process. The thread ends after some time without a lease."""
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
                run(self._store.call_lease_operation("acquire", key, self._holder, self._lease_s))
                with self._lock:
                    released = key not in self._held
                if released:  # the lease was released while it was being renewed
                    run(self._store.call_lease_operation("release", key, self._holder))
