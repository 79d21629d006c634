"""The owner of the open rows of this process: the heartbeat, and copies of the rows that a failover may lose."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import LLMCoreError
from llmcore.support import forks
from llmcore.support.ledger_values import Settlement
from llmcore.support.threads import start_thread
from llmcore_ledger_postgres import encoding
from llmcore_ledger_postgres.encoding import Opened

__all__ = ["Owner"]

_log: Final = logging.getLogger("llmcore.ledger_postgres")
_REMEMBER_S: Final = 60.0
"""For this many seconds, a closed row is remembered: a failover may lose rows that were written shortly
before."""
_AGAIN_S: Final = 15.0
"""The rows are sent a second time this many seconds after the failover was noticed. By then, this process has
handled every answer of the old server."""
_ABANDONED: Final = 1000
"""The maximum number of abandoned requests to remember."""


class Owner:
    """The identity of this process in one ledger.

    Args:
        beat: Reports that the owner is alive. A thread calls this function once per interval.
        interval_s: The interval of the heartbeat in seconds.
    """

    def __init__(self, beat: Callable[[], object], interval_s: float) -> None:
        self._beat = weakref.WeakMethod(beat)
        self._interval_s = interval_s
        self._lock = forks.lock()
        self._reset()
        forks.watch(self)

    def _reset(self) -> None:
        self.name = os.urandom(8).hex()
        self.open: dict[str, Opened] = {}
        """The open rows by key."""
        self._abandoned: dict[str, None] = {}
        """The keys of abandoned requests. The server may still answer their reservations; `add` ignores these
        rows."""
        self._closed: deque[tuple[float, msgspec.Raw | tuple[Opened, Settlement | Mapping[str, Any]]]] = (
            deque()
        )
        """The time at which each row was closed, and the row. The rows are encoded only in `recall`, because most
        rows are never sent again."""
        self._stopped: threading.Event | None = None
        self.timeline: str | None = None
        """The timeline of the server that last got the rows of this process. A failover begins a new
        timeline."""
        self._again_at: float | None = None
        self._beaten_at = self._steady_since = -math.inf
        """The times of the last successful heartbeat, and of the first one after the last outage or failover."""

    def start(self, timeline: str) -> bool:
        """Start the heartbeat, unless it runs. Return False if no thread can be started."""
        with self._lock:
            if self._stopped is None:
                self.timeline = self.timeline or timeline
                stopped = threading.Event()
                thread = threading.Thread(
                    target=_run,
                    args=(self._beat, stopped, self._interval_s),
                    name="llmcore-ledger-beat",
                    daemon=True,
                )
                self._stopped = stopped if start_thread(thread) else None
            return self._stopped is not None

    def stop(self) -> None:
        """Stop the heartbeat."""
        with self._lock:
            stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.set()

    def is_behind(self, timeline: str) -> bool:
        """Return whether the rows of this process must be sent to the server of *timeline*.

        Return True after a failover, and once more some seconds later. The second time, the rows include those that
        the old server confirmed during the first `recall`.
        """
        return timeline != self.timeline or (
            self._again_at is not None and time.monotonic() >= self._again_at
        )

    def is_steady(self, silence_s: float) -> bool:
        """Note a heartbeat. Return whether the heartbeats of the last *silence_s* seconds have all succeeded.

        Otherwise the server could not be reached for a while, so a process without a heartbeat may nevertheless be alive.
        """
        now = time.monotonic()
        if now - self._beaten_at > self._interval_s + silence_s / 2:
            self._steady_since = now
        self._beaten_at = now
        return now - self._steady_since >= silence_s

    def follow(self, timeline: str) -> None:
        """Note that the rows of this process were sent to the server of *timeline*."""
        now = time.monotonic()
        self._beaten_at = -math.inf
        if timeline != self.timeline:
            self._again_at = now + _AGAIN_S
        elif self._again_at is not None and now >= self._again_at:
            self._again_at = None
        self.timeline = timeline

    def add(self, opened: Opened) -> None:
        """Remember a row that the server has opened, unless the caller has abandoned the request in the meantime."""
        key = opened.request.key
        with self._lock:
            if key in self._abandoned:
                del self._abandoned[key]
            else:
                self.open[key] = opened

    def close(self, settlement: Settlement) -> None:
        """Remember that the server has settled a row."""
        key, was_sent = settlement.request.key, settlement.outcome.requested
        with self._lock:
            opened = self.open.pop(key, None)
            if opened is not None and was_sent:
                self._remember((opened, settlement))
            if opened is None and not was_sent:
                self._abandoned[key] = None
                if len(self._abandoned) > _ABANDONED:
                    del self._abandoned[next(iter(self._abandoned))]

    def close_encoded(self, settlement: Mapping[str, Any]) -> None:
        """See `close`; *settlement* is encoded."""
        with self._lock:
            opened = self.open.pop(settlement["key"], None)
            if opened is not None and "state" in settlement:
                self._remember((opened, settlement))

    def remember(self, row: msgspec.Raw) -> None:
        """Remember the closed row *row*, which is encoded."""
        with self._lock:
            self._remember(row)

    def _remember(self, closed: msgspec.Raw | tuple[Opened, Settlement | Mapping[str, Any]]) -> None:
        """Add a closed row. The caller must hold the lock."""
        self._closed.append((time.monotonic(), closed))
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - _REMEMBER_S
        while self._closed and self._closed[0][0] < oldest:
            self._closed.popleft()

    def recall(self) -> list[Any]:
        """Return the rows that a failover may have lost, as items of the database function `restate`."""
        with self._lock:
            self._forget()
            opened, closed = self.open.copy(), self._closed.copy()
        return [*(self._encode_closed(row) for _, row in closed), *map(self.encode_open, opened.values())]

    def encode_open(self, opened: Opened) -> dict[str, Any]:
        """Return the open row *opened*, as an item of the database function `restate`."""
        return encoding.make_open_row(opened, self.name)

    def _encode_closed(self, closed: msgspec.Raw | tuple[Opened, Settlement | Mapping[str, Any]]) -> Any:
        if isinstance(closed, msgspec.Raw):
            return closed
        opened, settlement = closed
        item = encoding.encode_settlement(settlement) if isinstance(settlement, Settlement) else settlement
        return encoding.make_closed_row(self.encode_open(opened), item)

    def after_fork(self) -> None:
        """Become a new owner in a forked child; see `forks.ForkAware`."""
        self._reset()


def _run(beat: weakref.WeakMethod[Callable[[], object]], stopped: threading.Event, interval_s: float) -> None:
    """Call *beat* in each interval, until the ledger is closed or garbage-collected."""
    while not stopped.wait(interval_s):
        method = beat()
        if method is None:
            return
        try:
            method()
        except LLMCoreError:
            pass  # the next beat may succeed; calls report the error
        except Exception:  # noqa: BLE001 - go on: without a heartbeat, other processes settle the open rows
            _log.warning("the heartbeat failed; it is tried again in %g s", interval_s, exc_info=True)
        del method
