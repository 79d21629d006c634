"""How long a speech may take: what works for it looks here between its steps."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from llmcore.errors import Timeout

__all__ = ["Patience", "Stopped", "carried"]

_T = TypeVar("_T")

_POLL_S: Final = 0.05
"""So long a lock is waited for before its waiter looks whether it still wants it."""


class Stopped(BaseException):
    """Nobody waits for this speech any more. It ends the thread that works for it and is seen by nobody else."""


class Patience:
    """Of one caller.

    Args:
        settings: `timeout_s`, where the host gives it, is kept; without it there is all the time in the world.
        clock: Seconds, from any beginning.
    """

    def __init__(self, settings: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + settings.get("timeout_s", math.inf)
        self._stopped = threading.Event()

    def give_up(self) -> None:
        """End the work at its next look."""
        self._stopped.set()

    def look(self) -> None:
        """Return where the work may go on.

        Raises:
            Timeout: The time is over.
            Stopped: The caller is gone.
        """
        if self._stopped.is_set():
            raise Stopped
        if self._clock() >= self._ends:
            raise Timeout(
                "`espeak` did not end its speech in time",
                provider="espeak",
                expected="speech within the deadline of [retry], or timeout=",
                fix="synthesize(..., timeout=seconds)",
            )

    def acquire(self, lock: threading.Lock) -> None:
        """Take *lock*.

        Raises:
            Timeout: The time is over.
            Stopped: The caller is gone.
        """
        while not lock.acquire(timeout=_POLL_S):
            self.look()


def carried(work: Callable[[], _T], patience: Patience) -> _T:
    """Return what *work* returns, which a thread does.

    A Ctrl-C that arrives while C calls back into Python is lost there. So the caller does nothing but wait, which can be
    interrupted, and the work ends at its next look.
    """
    done: list[_T] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def carry() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised to the caller
            failed.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=carry, name="llmcore-espeak", daemon=True)
    thread.start()
    try:
        _wait(over, patience)
        thread.join()
        if failed:
            raise failed[0]
        return done[0]
    finally:
        failed.clear()  # else the frame and the traceback would keep each other alive


def _wait(over: threading.Event, patience: Patience) -> None:
    """Return when *over* is set; where that is interrupted, the work is ended first.

    To wait by `Thread.join` would not do: once interrupted, some versions of Python take the thread for ended.
    """
    try:
        over.wait()
    except BaseException:
        patience.give_up()
        over.wait()
        raise
