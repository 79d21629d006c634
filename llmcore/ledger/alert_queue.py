"""Run the work of alerts in threads, so that it delays no call.

If no thread can be started, the work waits until a later call starts one, or until the program ends.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from llmcore import forks
from llmcore.threads import start_thread

__all__ = ["AlertQueue"]


class AlertQueue:
    """Runs work in threads that Python waits for at exit, because the last call of a program may cause an alert."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = (
            deque()
        )  # operations of a deque are atomic and need no lock
        forks.watch(self)

    def submit(self, work: Callable[[], object]) -> None:
        """Run *work* soon, in a thread. *work* must not raise."""
        self._waiting.append(work)
        self.retry()

    def retry(self) -> None:
        """Start a thread if work waits."""
        if self._waiting:
            start_thread(threading.Thread(target=self.run, name="llmcore-alert", daemon=False))

    def run(self, timeout_s: float = math.inf) -> None:
        """Run the waiting work in this thread. After *timeout_s* seconds, begin no further work."""
        ends = time.monotonic() + timeout_s
        while time.monotonic() < ends:
            try:
                work = self._waiting.popleft()
            except IndexError:
                return
            work()

    def after_fork(self) -> None:
        """Drop the work in a forked child, because it belongs to the parent; see `forks.ForkAware`."""
        self._waiting.clear()
