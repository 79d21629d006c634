"""The thread that returns unused capacity to a shared store of rate limits, and reports that this process is alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from llmcore import forks
from llmcore.support.limit_values import PermitReturn
from llmcore.threads import start_thread

__all__ = ["Reporter"]

_BATCH: Final = 256
"""The maximum number of permits that `drain` returns, so that one message to the store stays small."""


class Reporter:
    """Returns permits as soon as they are posted, and sends reports at intervals, both in one thread.

    The thread ends when the process is idle.
    """

    def __init__(
        self, send: Callable[[Sequence[PermitReturn]], None], report: Callable[[], float | None]
    ) -> None:
        """Create the reporter, without a thread.

        Args:
            send: Returns permits to the store. Must not raise.
            report: Sends a report. Returns the seconds until the next report, or None if the process is idle. Must not
                raise.
        """
        self._send = send
        self._report = report
        self.reset()

    def reset(self) -> None:
        """Start with no thread and an empty queue.

        A forked child calls this method, because the thread runs only in the parent.
        """
        self._lock = forks.lock()
        # a SimpleQueue is reentrant: the garbage collector may call `post` in a thread that is using the queue
        self._returns: SimpleQueue[PermitReturn | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._wanted = False

    def start(self) -> bool:
        """Start the thread, unless it runs. Return False if no thread can be started."""
        self._wanted = True
        if self._thread is not None:
            return True
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="llmcore-limits", daemon=True)
                self._thread = thread
                if not start_thread(thread):
                    self._thread = None
                    return False
        return True

    def post(self, item: PermitReturn) -> None:
        """Send *item* soon. Never waits."""
        self._returns.put(item)

    def wake(self) -> None:
        """Let the thread report now."""
        self._returns.put(None)

    def drain(self) -> tuple[list[PermitReturn], bool]:
        """Remove permits from the queue and return them. The second result is True if `wake` was called."""
        found: list[PermitReturn] = []
        is_woken = False
        while len(found) < _BATCH:
            try:
                item = self._returns.get_nowait()
            except Empty:
                break
            if item is None:
                is_woken = True
            else:
                found.append(item)
        return found, is_woken

    def _run(self) -> None:
        due = 0.0
        while True:
            first: PermitReturn | None = None
            try:
                first = self._returns.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                pass
            else:
                due = due if first is not None else 0.0
            more, is_woken = self.drain()
            if is_woken:
                due = 0.0
            returns = [*([] if first is None else [first]), *more]
            if returns:
                self._send(returns)
            if time.monotonic() < due:
                continue
            self._wanted = False
            pause = self._report()
            if pause is None:
                with self._lock:
                    if self._returns.empty() and not self._wanted:
                        self._thread = None
                        return
                pause = 0.0
            due = time.monotonic() + pause
