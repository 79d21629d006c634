"""Settle requests later if another process holds the ledger's lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from llmcore import forks
from llmcore.errors import LedgerUnavailable
from llmcore.ledger.lock_timeouts import INLINE_TIMEOUT_S, LOCK_TIMEOUT_S
from llmcore.ledger.reservation import Reservation
from llmcore.support.ledger_values import Outcome
from llmcore.threads import start_thread

__all__ = ["LateSettlements", "Settle"]

Settle = Callable[[Mapping[Reservation, Outcome], float], LedgerUnavailable | None]
"""Records outcomes in one transaction within the given seconds. Returns the error if that fails."""
_ATTEMPT_S: Final = 0.25
"""The duration of one attempt in seconds. `Spending.closing` gets the connection between two attempts."""
_ATTEMPTS: Final = round(LOCK_TIMEOUT_S / _ATTEMPT_S)


class LateSettlements:
    """Outcomes that wait for the ledger. One thread settles all of them.

    The thread is a daemon, so Python does not wait for it at exit but calls `close` with a short timeout. The next process
    settles rows that are still open; see `LedgerProvider.recover`.

    Args:
        settle: Records outcomes.
        report: A function that is called with the error if the thread gives up. The outcomes then wait for the next
            `retry`.
    """

    def __init__(self, settle: Settle, report: Callable[[LedgerUnavailable], None]) -> None:
        self._settle = settle
        self._report = report
        self._lock = forks.lock()
        self._waiting: dict[Reservation, Outcome] = {}
        self._is_running = self._is_closed = False
        forks.watch(self)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, reservation: Reservation, outcome: Outcome) -> None:
        """Settle in the thread. If the system cannot start a thread, settle here within `INLINE_TIMEOUT_S`.

        After `close`, do nothing.
        """
        if self._is_closed:
            return
        self.put(reservation, outcome)
        if not self.retry():
            self._try(INLINE_TIMEOUT_S)

    def put(self, reservation: Reservation, outcome: Outcome) -> None:
        """Store the outcome for `close` or the next `retry`."""
        with self._lock:
            self._waiting[reservation] = outcome

    def retry(self) -> bool:
        """Start the thread if outcomes wait; return False if a thread is needed and cannot be started."""
        if not self._waiting:
            return True
        with self._lock:
            if not self._is_running:
                thread = threading.Thread(target=self._run, name="llmcore-settle", daemon=True)
                self._is_running = start_thread(thread)
            return self._is_running

    def close(self, timeout_s: float) -> None:
        """Settle once more before Python ends. The next process settles the remaining rows."""
        self._is_closed = True
        error = self._try(timeout_s)
        if error is not None:
            self._report(error)

    def after_fork(self) -> None:
        """Drop the outcomes in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        self._waiting = {}
        self._is_running = self._is_closed = False

    def _try(self, timeout_s: float) -> LedgerUnavailable | None:
        """Settle all waiting outcomes. After a failure, they stay in the queue."""
        with self._lock:
            waiting = dict(self._waiting)
        error = self._settle(waiting, timeout_s) if waiting else None
        if error is None:
            with self._lock:
                for reservation in waiting:
                    self._waiting.pop(reservation, None)
        return error

    def _run(self) -> None:
        attempts = 0
        while True:
            ends = time.monotonic() + _ATTEMPT_S
            error = self._try(_ATTEMPT_S)
            if error is not None:  # a refused connection fails at once, so wait before the next attempt
                time.sleep(max(0.0, ends - time.monotonic()))
            attempts = 0 if error is None else attempts + 1
            with self._lock:
                if not self._waiting or attempts == _ATTEMPTS:
                    self._is_running = False
                    break
        if error is not None:
            self._report(error)
