"""Circuit breaker for the cache backend: skip a failing backend, and probe the backend until it answers."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from llmcore import forks
from llmcore.errors import CacheUnavailable
from llmcore.threads import start_thread

__all__ = ["Breaker", "is_unreachable"]

_FAILURES: Final = 3
"""The breaker opens after this many consecutive failures of the same `_DECISIVE` operation.

If the backend is unreachable, the first failure opens the breaker.
"""
_DECISIVE: Final = frozenset({"create", "get"})
"""The operations that every cache needs.

Failures are counted per operation: a `set` that works does not hide a `get` that fails, and a lease that is
refused does not stop reads.
"""
_PAUSE_S: Final = 0.5
"""Seconds between two probes."""


class Breaker:
    """A circuit breaker.

    While the breaker is open, the backend is not used. A thread probes the backend. If no thread can be
    started, callers probe the backend, at most once per pause.
    """

    def __init__(
        self,
        probe: Callable[[], bool],
        on_close: Callable[[], None],
        *,
        on_open: Callable[[], None] | None = None,
        may_close: Callable[[], bool] | None = None,
        pause_s: float = _PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a closed breaker.

        Args:
            probe: A function that calls the backend and returns whether the backend answered.
            on_close: Called after the breaker has closed.
            on_open: Called when the breaker opens, before `is_open` is true.
            may_close: Called before the breaker closes; if it returns False, the backend is probed again at
                once.
            pause_s: Seconds between two probes.
            clock: Returns monotonic seconds.

        The breaker calls `on_open` and `may_close` with its lock held. These functions must neither wait nor log.
        """
        self._probe = probe
        self._on_close = on_close
        self._on_open = on_open
        self._may_close = may_close
        self._pause_s = pause_s
        self._clock = clock
        self._lock = forks.lock()
        self._failures: dict[str, int] = {}
        """Operation -> number of consecutive failures."""
        self._stop: threading.Event | None = None
        self._probe_at: float | None = None
        """The time of the next probe by a caller; None if a thread probes the backend."""
        forks.watch(self)

    @property
    def is_open(self) -> bool:
        """True if the breaker is open, so that the backend is not used."""
        return self._stop is not None and (self._probe_at is None or not self._probe_in_caller())

    def after_fork(self) -> None:
        """If the breaker is open, start a probe thread in the forked child; see `forks.ForkAware`."""
        if self._stop is not None:
            self._start_probes()

    def record_success(self, operation: str = "get") -> None:
        """Record that *operation* succeeded."""
        if self._failures:
            self._failures.pop(operation, None)

    def record_failure(self, error: BaseException, operation: str = "get") -> bool:
        """Record that *operation* failed; return whether this failure opened the breaker."""
        with self._lock:
            self._failures[operation] = self._failures.get(operation, 0) + 1
            is_useless = operation in _DECISIVE and self._failures[operation] >= _FAILURES
            if self._stop is not None or not (is_useless or is_unreachable(error)):
                return False
            if self._on_open is not None:
                self._on_open()
            self._start_probes()
            return True

    def run_if_open(self, function: Callable[[], None]) -> bool:
        """If the breaker is open, call *function*; return whether the breaker is open.

        *function* must not wait, because the lock of the breaker is held during the call. The lock keeps the breaker
        open.
        """
        with self._lock:
            if self._stop is None:
                return False
            function()
            return True

    def close(self) -> None:
        """Stop probing."""
        with self._lock:
            if self._stop is not None:
                self._stop.set()
            self._stop = None
            self._failures.clear()

    def _start_probes(self) -> None:
        self._stop = threading.Event()
        arguments = (weakref.ref(self), self._stop, self._pause_s)
        started = start_thread(
            threading.Thread(target=_run_probes, args=arguments, name="llmcore-probe", daemon=True)
        )
        self._probe_at = None if started else self._clock() + self._pause_s

    def _probe_in_caller(self) -> bool:
        """Probe in the thread of the caller if a pause has passed; return whether the backend answered."""
        with self._lock:
            if self._stop is None:
                return True
            if self._probe_at is None or self._clock() < self._probe_at:
                return False
            self._start_probes()
            if self._probe_at is None:  # a thread has started to probe
                return False
            stop = self._stop
        while self._probe():
            if self._try_close(stop):
                return True
        return False

    def _try_close(self, stop: threading.Event) -> bool:
        """Close the breaker after a successful probe, unless *stop* is set. Return False if `may_close` forbids it."""
        with self._lock:
            if stop.is_set():
                return True
            if self._may_close is not None and not self._may_close():
                return False
            self.close()
        self._on_close()
        return True


def is_unreachable(error: BaseException) -> bool:
    """Return True if *error* means that the backend is unreachable, False if the backend refused the operation."""
    return isinstance(error, CacheUnavailable | OSError)


def _run_probes(watched: weakref.ref[Breaker], stop: threading.Event, pause_s: float) -> None:
    """Probe until the backend answers, *stop* is set, or the breaker is collected."""
    while not stop.wait(pause_s):
        breaker = watched()
        if breaker is None:
            return
        while breaker._probe():  # noqa: SLF001 - this function is part of the breaker
            if breaker._try_close(stop):  # noqa: SLF001 - this function is part of the breaker
                return
        del breaker  # without this reference, an unused breaker can be collected, which ends this thread
