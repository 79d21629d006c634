"""Settle requests later if the ledger cannot be written: a lock is held, the server restarts, the disk is full."""

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
"""Records the outcomes in one transaction. The second argument is the timeout in seconds.

Returns the error if the ledger cannot be written.
"""
_ATTEMPT_S: Final = 0.25
"""The timeout of the first attempt in seconds.

It is short, because `Spending.shut_down` waits for the connection until an attempt ends.
"""
_LONGEST_ATTEMPT_S: Final = 1.0
"""The maximum timeout of an attempt in seconds. Each attempt has twice the timeout of the attempt before."""
_REFUSED_PAUSE_S: Final = 1.0
"""After the ledger has refused an outcome, `retry` does nothing for this many seconds."""
_MOST: Final = 1000
"""The maximum number of outcomes that wait after the ledger has refused them."""


class LateSettlements:
    """Outcomes that wait for the ledger. One thread settles all of them.

    The thread continues until the ledger works again. It ends if the ledger refuses an outcome, for example because the
    disk is full; `retry` starts it again after the next success. The thread is a daemon, so Python does not wait for it at
    exit but calls `close` with a short timeout. The next process settles rows that are still open; see
    `LedgerProvider.recover`.

    Args:
        settle: Records outcomes.
        report: A function that is called once with the error if the ledger refuses an outcome, or cannot be used for
            `LOCK_TIMEOUT_S`.
    """

    def __init__(self, settle: Settle, report: Callable[[LedgerUnavailable], None]) -> None:
        self._settle = settle
        self._report = report
        self._lock = forks.lock()
        self._waiting: dict[Reservation, Outcome] = {}
        self._is_running = self._is_closed = False
        self._refused_at = -_REFUSED_PAUSE_S
        forks.watch(self)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, reservation: Reservation, outcome: Outcome) -> None:
        """Settle in a thread. If none can be started, settle in the caller's thread within `INLINE_TIMEOUT_S`.

        After `close`, do nothing.
        """
        if self._is_closed:
            return
        self.put(reservation, outcome)
        if not self._start():
            self._try(INLINE_TIMEOUT_S)

    def add_refused(self, reservation: Reservation, outcome: Outcome) -> None:
        """Keep an outcome that the ledger has refused, until the next `retry`.

        If too many outcomes wait, the row stays open until the end of this process.
        """
        self._refused_at = time.monotonic()
        if len(self._waiting) < _MOST:
            self.put(reservation, outcome)

    def put(self, reservation: Reservation, outcome: Outcome) -> None:
        """Keep the outcome until `close` or the next `retry`."""
        with self._lock:
            self._waiting[reservation] = outcome

    def retry(self) -> None:
        """Start the thread if outcomes wait."""
        if self._waiting and time.monotonic() - self._refused_at >= _REFUSED_PAUSE_S:
            self._start()

    def _start(self) -> bool:
        """Start the thread, unless it runs. Return False if the system cannot start a thread."""
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
        error = self._settle_group(waiting, timeout_s) if waiting else None
        if error is not None and not error.busy:
            self._refused_at = time.monotonic()
            if len(waiting) > 1:  # an outcome that the ledger refuses must not delay the others
                for reservation, outcome in waiting.items():
                    self._settle_group({reservation: outcome}, timeout_s)
        return error

    def _settle_group(
        self, group: Mapping[Reservation, Outcome], timeout_s: float
    ) -> LedgerUnavailable | None:
        error = self._settle(group, timeout_s)
        if error is None:
            with self._lock:
                for reservation in group:
                    self._waiting.pop(reservation, None)
        return error

    def _run(self) -> None:
        began, attempt_s, is_reported = time.monotonic(), _ATTEMPT_S, False
        while True:
            ends = time.monotonic() + attempt_s
            error = self._try(attempt_s)
            was_refused = error is not None and not error.busy
            with self._lock:
                if not self._waiting or was_refused or self._is_closed:
                    self._is_running = False
                    break
            if error is None:
                began, attempt_s = time.monotonic(), _ATTEMPT_S
                continue
            if not is_reported and time.monotonic() - began >= LOCK_TIMEOUT_S:
                is_reported = True
                self._report(error)
            time.sleep(max(0.0, ends - time.monotonic()))  # a refused connection fails before the timeout
            attempt_s = min(2 * attempt_s, _LONGEST_ATTEMPT_S)
        if error is not None and was_refused:
            self._report(error)
