"""Refresh a due entry in the background, while all callers get the old value: stale-while-revalidate."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from llmcore import forks
from llmcore.cache.lease import Leases
from llmcore.cache.store import CacheStore
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act, Step
from llmcore.interrupts import is_interrupt
from llmcore.log import get_logger
from llmcore.threads import start_thread

if TYPE_CHECKING:
    import asyncio

__all__ = ["MAX_RUNNING", "Refresher", "Renewal"]

_PAUSE_S: Final = 1.0
"""Seconds between a failed refresh and the next attempt.

The pause doubles after each further failure (backoff).
"""
_MAX_PAUSE_S: Final = 60.0
_QUIET_S: Final = 60.0
"""Minimum seconds between two log lines about failed refreshes."""
MAX_RUNNING: Final = 32
"""Maximum concurrent refreshes in one process. Other due entries are refreshed at a later call."""


class Renewal(NamedTuple):
    """The data for the refresh of one cached result."""

    key: str
    """The key in the backend."""
    name: str
    """The description of the result for the log."""
    is_due: Callable[[bytes], Act[bool]]
    """A function that returns whether the stored data is usable and must still be refreshed."""
    make: Callable[[], Act[None]]
    """A function that makes and stores the result. If the result cannot be made, the function raises an error."""


_RUNNING: Final = float("inf")


class _Attempt(NamedTuple):
    until: float
    """The earliest time of the next attempt; `_RUNNING` while an attempt is running."""
    failures: int


class Refresher:
    """The refreshes of one cache in this process."""

    def __init__(self, store: CacheStore, leases: Leases) -> None:
        self._store = store
        self._leases = leases
        self._closed = False
        self._lock = forks.lock()
        self._start()
        forks.watch(self)

    def after_fork(self) -> None:
        """Drop the running refreshes in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        forks.leave_to_parent(self._tasks)
        self._start()

    def _start(self) -> None:
        self._attempts: dict[str, _Attempt] = {}
        self._quiet_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def make_step(self, renewal: Renewal) -> Step:
        """Return a step that starts *renewal* in a thread or a task.

        The step does nothing if this renewal is running or has just failed.
        """
        return Step(self._begin, self._abegin, renewal)

    def close(self) -> None:
        """Do not start any more refreshes. Running refreshes end without log lines."""
        self._closed = True

    def _begin(self, renewal: Renewal) -> None:
        attempt = self._begin_attempt(renewal.key)
        if attempt is None:
            return
        context, work = contextvars.copy_context(), self._refresh(renewal, attempt)
        thread = threading.Thread(target=context.run, args=(run, work), name="llmcore-refresh", daemon=True)
        if not start_thread(thread):  # without a thread there is no refresh: the caller has the old value
            self._end_attempt(renewal.key, attempt, done=None)

    async def _abegin(self, renewal: Renewal) -> None:
        import asyncio

        attempt = self._begin_attempt(renewal.key)
        if attempt is None:
            return

        def end(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            # a task that was cancelled before it began has not ended the attempt
            self._end_attempt(renewal.key, attempt, done=None)

        task = asyncio.get_running_loop().create_task(arun(self._refresh(renewal, attempt)))
        self._tasks.add(task)
        task.add_done_callback(end)

    def _begin_attempt(self, key: str) -> _Attempt | None:
        """Begin an attempt, which `_end_attempt` ends; return None if no attempt may begin now."""
        now = time.monotonic()
        with self._lock:
            before = self._attempts.get(key)
            running = sum(attempt.until == _RUNNING for attempt in self._attempts.values())
            if self._closed or running >= MAX_RUNNING or (before is not None and before.until > now):
                return None
            # Keep the record of a failure for some time after its pause, because a second failure must get a longer
            # pause.
            self._attempts = {
                each: attempt
                for each, attempt in self._attempts.items()
                if attempt.until > now - _MAX_PAUSE_S
            }
            attempt = self._attempts[key] = _Attempt(_RUNNING, 0 if before is None else before.failures)
            return attempt

    def _end_attempt(self, key: str, attempt: _Attempt, *, done: bool | None) -> bool:
        """End the attempt, unless it has already ended; return whether to log a failure.

        *done* is True after a refresh, False after a failure, and None if the refresh did not take place.
        """
        now = time.monotonic()
        with self._lock:
            if self._attempts.get(key) is not attempt:
                return False
            if done:
                del self._attempts[key]
                return False
            failures = attempt.failures + (done is False)
            pause = min(_MAX_PAUSE_S, _PAUSE_S * 2.0 ** max(0, failures - 1))
            self._attempts[key] = _Attempt(now + pause, failures)
            if done is None or failures > 1 or now < self._quiet_until or self._closed:
                return False
            self._quiet_until = now + _QUIET_S
            return True

    def _refresh(self, renewal: Renewal, attempt: _Attempt) -> Act[None]:
        done: bool | None = None
        why = "the new result was not stored"
        try:
            done = yield from self._refresh_with_lease(renewal)
        except BaseException as error:
            if is_interrupt(error):
                raise
            done, why = False, type(error).__name__
        finally:
            if self._end_attempt(renewal.key, attempt, done=done):
                get_logger(__name__).warning(
                    "refreshing %s failed, the old result is still served: %s", renewal.name, why
                )

    def _refresh_with_lease(self, renewal: Renewal) -> Act[bool | None]:
        """Refresh the entry and return whether it is fresh.

        The result is None if another process has the lease.
        """
        lease = renewal.key + " refresh"
        taken = yield from self._leases.acquire(lease)
        if taken is False:
            return None
        return (yield from self._leases.hold(lease if taken else None, self._make(renewal)))

    def _make(self, renewal: Renewal) -> Act[bool]:
        if not (yield from self._is_due(renewal)):
            return True
        yield from renewal.make()
        return not (yield from self._is_due(renewal))

    def _is_due(self, renewal: Renewal) -> Act[bool]:
        kept = yield from self._store.read(renewal.key)
        return kept is not None and (yield from renewal.is_due(kept))
