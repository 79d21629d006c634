"""The deadline of a call. Each step checks the deadline, and cancelling the call kills its worker."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from llmcore.errors import Timeout, VoiceError
from llmcore.support import forks, threads

__all__ = ["Cancelled", "Deadline", "run_in_thread", "start_thread"]

T = TypeVar("T")


class Cancelled(BaseException):
    """The caller was cancelled.

    The error is raised only in the thread that works for the call, to end the work.
    """


class _Killable(Protocol):
    """An object that a cancelled call ends at once."""

    def kill(self) -> None:
        """End the object. Any thread may call this."""
        ...


class Deadline:
    """The deadline of one call.

    Args:
        settings: The settings of the call. `timeout_s` is the number of seconds from now; without it, there is no limit.
        clock: A function that returns a time in seconds, which never goes back.
    """

    def __init__(self, settings: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: float = clock() + settings.get("timeout_s", math.inf)
        self._lock = forks.lock()
        self._cancelled = False
        self._attached: _Killable | None = None

    def check(self) -> float:
        """Return the remaining seconds.

        Raises:
            Timeout: The deadline has passed.
            Cancelled: The caller was cancelled.
        """
        if self._cancelled:
            raise Cancelled
        left = self._ends - self._clock()
        if left <= 0:
            raise Timeout(
                "`espeak` did not complete the speech in time",
                provider="espeak",
                expected="speech before the deadline (timeout=, or deadline in [retry])",
                fix="synthesize(..., timeout=seconds)",
            )
        return left

    def cancel(self) -> None:
        """End the work at its next check, and kill the attached object."""
        with self._lock:
            self._cancelled = True
            if self._attached is not None:
                self._attached.kill()

    def attach(self, target: _Killable | None) -> None:
        """Let `cancel` kill *target*. If *target* is None, `cancel` kills nothing.

        Raises:
            Cancelled: The call is already cancelled.
        """
        with self._lock:
            self._attached = target
            if self._cancelled and target is not None:
                raise Cancelled


def start_thread(work: Callable[[], object]) -> threading.Thread:
    """Start a thread that runs *work*.

    Raises:
        VoiceError: The system cannot start another thread.
    """
    thread = threading.Thread(target=work, name="llmcore-espeak", daemon=True)
    if not threads.start_thread(thread):
        raise VoiceError(
            "`espeak` cannot start a thread",
            expected="a system that can start another thread",
            fix="raise the limit of processes and threads: ulimit -u",
        )
    return thread


def run_in_thread(work: Callable[[], T], deadline: Deadline) -> T:
    """Run *work* in a thread and return its result.

    Python would lose a Ctrl-C that arrives during a callback from C. Here the waiting caller receives the
    Ctrl-C, and *work* ends at its next check of the deadline.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def carry() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised to the caller
            errors.append(error)
        finally:
            done.set()

    thread = start_thread(carry)
    try:
        _wait(done, deadline)
        thread.join()
        if errors:
            raise errors[0]
        return results[0]
    finally:
        errors.clear()  # break the reference cycle between the frame of this function and the traceback


def _wait(done: threading.Event, deadline: Deadline) -> None:
    """Wait until *done* is set; on an interrupt, cancel the work and wait for its end.

    `Thread.join` is not used: after an interrupt, some versions of Python treat the thread as ended.
    """
    try:
        done.wait()
    except BaseException:
        deadline.cancel()
        done.wait()
        raise
