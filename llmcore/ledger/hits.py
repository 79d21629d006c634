"""Cache hits, counted in memory and written in bulk: a hit never waits for the database."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore import forks
from llmcore.ledger import exit_handlers
from llmcore.ledger.spool import Spool
from llmcore.threads import start_thread

__all__ = ["HitKey", "Hits"]

_PAUSE_S: Final = 1.0
"""The interval in seconds at which counted hits are written."""

_json: Final = msgspec.json.Encoder()


class HitKey(msgspec.Struct, frozen=True, gc=False):
    """The fields by which hits are counted."""

    kind: str
    provider: str
    model: str
    user: str | None
    tags: tuple[str, ...]


class Hits:
    """Counts hits and appends them as lines to the file next to the ledger.

    Hits are written once a second, and when Python ends. A killed process loses the hits of its last second.
    """

    def __init__(self, spool: Spool | None, clock: Callable[[], float] = time.time) -> None:
        """Append hits to *spool*. If *spool* is None, hits are not counted."""
        self._spool = spool
        self._clock = clock
        self._lock = forks.lock()
        self._counts: dict[HitKey, list[Any]] = {}
        self._timer: threading.Timer | None = None
        forks.watch(self)
        exit_handlers.watch(self)

    def record_hit(self, key: HitKey, saved: Decimal | None) -> None:
        """Count one hit; *saved* is in USD."""
        if self._spool is None:
            return
        with self._lock:
            entry = self._counts.get(key)
            if entry is None:
                entry = self._counts[key] = [0, Decimal(0)]
            entry[0] += 1
            if saved:
                entry[1] += saved
            if self._timer is not None:
                return
            # The thread keeps this object alive, so the hits are written even if the Core was dropped.
            timer = threading.Timer(_PAUSE_S, self.write)
            timer.daemon, timer.name = True, "llmcore-hits"
            if start_thread(timer):
                self._timer = timer
                return
        self.write()  # without a thread, this may be the last chance to write

    def write(self) -> None:
        """Append the counted hits to the file. Hits that cannot be written are dropped."""
        with self._lock:
            counts, self._counts = self._counts, {}
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if counts and self._spool is not None:
            at = self._clock()
            lines = [
                _json.encode([at, count, *msgspec.structs.astuple(key), str(saved)])
                for key, (count, saved) in counts.items()
            ]
            with contextlib.suppress(OSError):
                self._spool.append(lines)

    def at_exit(self, timeout_s: float) -> None:
        """Write the counted hits; see `exit_handlers.AtExit`."""
        del timeout_s  # other processes lock the file only for microseconds, so no timeout is needed
        self.write()

    def after_fork(self) -> None:
        """Forget the counts, which the parent writes; see `forks.ForkAware`."""
        self._counts, self._timer = {}, None
