"""Stops asking a cache that does not answer, and asks again when it does."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Final

from llmcore.builtin import forks
from llmcore.errors import CacheUnavailable

__all__ = ["Breaker"]

FAILURES: Final = 3
"""In a row, of whatever kind, before a cache is left alone; one that cannot be reached is left alone at once."""
PAUSE_S: Final = 0.5
"""Between two probes."""


class Breaker:
    """Open while the backend is left alone. One thread probes it meanwhile, off everybody's path."""

    def __init__(
        self, probe: Callable[[], bool], reopened: Callable[[], None], *, pause_s: float = PAUSE_S
    ) -> None:
        """Begin closed.

        Args:
            probe: Asks the backend, and returns whether it answered.
            reopened: Called when it did, before it is used again.
            pause_s: Seconds between two probes.
        """
        self._probe = probe
        self._works = reopened
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._failures = 0
        self._stop: threading.Event | None = None
        forks.renew(self)

    @property
    def is_open(self) -> bool:
        """Whether the backend is left alone."""
        return self._stop is not None

    def renewed(self) -> None:
        """See `forks.Renewable`: the probing thread is the parent's."""
        self._lock = threading.Lock()
        if self._stop is not None:
            self._watch()

    def worked(self) -> None:
        """Note an answer."""
        self._failures = 0

    def failed(self, error: Exception) -> bool:
        """Note a failure; return whether that opened the breaker."""
        with self._lock:
            self._failures += 1
            unreachable = isinstance(error, CacheUnavailable | OSError)
            if self._stop is not None or not (unreachable or self._failures >= FAILURES):
                return False
            self._watch()
            return True

    def close(self) -> None:
        """Stop probing."""
        with self._lock:
            if self._stop is not None:
                self._stop.set()
            self._stop, self._failures = None, 0

    def _watch(self) -> None:
        self._stop = threading.Event()
        arguments = (weakref.ref(self), self._stop, self._pause_s)
        threading.Thread(target=_probing, args=arguments, name="llmcore-probe", daemon=True).start()


def _probing(watched: weakref.ref[Breaker], stop: threading.Event, pause_s: float) -> None:
    """Probe until the backend answers, or nobody is interested any more."""
    while not stop.wait(pause_s):
        breaker = watched()
        if breaker is None:
            return
        if breaker._probe():  # noqa: SLF001 - this function is the breaker's own thread
            if not stop.is_set():
                breaker._works()  # noqa: SLF001 - as above
                breaker.close()
            return
        del breaker  # so that one whom nobody needs any more goes, and this thread with it
