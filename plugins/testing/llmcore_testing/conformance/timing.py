"""Time limits: a deadline for every call, and a watcher that finds calls which block the event loop."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only tests import this module
import contextvars
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final, Generic, TypeVar

from llmcore.frames import get_frames

__all__ = ["Hung", "KitThread", "LoopWatch", "Worker"]

T = TypeVar("T")

_LOOK_S: Final = 0.01
"""The interval between checks of the event loop, in seconds."""
_IDLE: Final = ("selectors.py", "subprocess.py")
"""Python files in which the event loop itself waits, for events or for the start of a child process. This waiting does not
count as blocking."""


class Hung(Exception):
    """A call did not return before its deadline. The kit abandons the thread of the call."""


class KitThread(threading.Thread):
    """A thread of the kit, which calls the backend or watches the event loop."""


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.context = contextvars.copy_context()
        self.done = threading.Event()
        self.value: T
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self.context.run(self.work)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            self.error = error
        self.done.set()


class Worker:
    """Runs the calls of one test in a thread with deadlines, so that a hanging call cannot block the kit."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._start()
        self.has_hung = False

    def run(self, work: Callable[[], T], deadline_s: float) -> T:
        """Return the result of *work*.

        Raises:
            Hung: *work* did not return within *deadline_s* seconds.
        """
        if (
            os.getpid() != self._process
        ):  # a forked child has no worker thread; its parent enforces the deadline
            return work()
        job = _Job(work)
        self._jobs.put(job)
        if not job.done.wait(deadline_s):
            self.has_hung = True
            self.close()
            self._start()
            raise Hung
        error, job.error = job.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error, job
        return job.value

    def close(self) -> None:
        """End the thread after its current call."""
        self._jobs.put(None)

    def _start(self) -> None:
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self.thread = KitThread(target=_run_jobs, args=(self._jobs,), name="llmcore-kit", daemon=True)
        self.thread.start()


def _run_jobs(jobs: queue.SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # the result of this call is released while the thread waits for the next one


class LoopWatch:
    """Finds a call that blocks the event loop. While the thread of the loop waits in such a call, the loop does not run.

    Computing does not count as blocking, because a busy machine slows computing down.

    Args:
        thread: The thread of the event loop.
        limit_s: The maximum time in seconds for which the loop may be blocked.
    """

    def __init__(self, thread: threading.Thread, limit_s: float) -> None:
        self.blocked: str | None = None
        """The location of the blocking call: function, file and line; None if there was none."""
        self._thread, self._looks = thread, max(2, round(limit_s / _LOOK_S))
        self._ticks = 0
        self._running = False
        self._stop = threading.Event()
        self._watcher = KitThread(target=self._watch, name="llmcore-kit-watch", daemon=True)
        self._watcher.start()

    async def watch(self, work: Any) -> Any:
        """Await *work* and watch the loop meanwhile."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def tick() -> None:
            nonlocal timer
            self._ticks += 1
            timer = loop.call_later(_LOOK_S, tick)

        tick()
        self._running = True
        try:
            return await work
        finally:
            self._running = False
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._watcher.join(1)

    def _watch(self) -> None:
        seen: tuple[int, int] | None = None
        ticks = looks = 0
        while not self._stop.wait(_LOOK_S):
            if not self._running or self._ticks != ticks:  # no call is watched, or the loop runs
                ticks, seen, looks = self._ticks, None, 0
                continue
            frame = get_frames().get(self._thread.ident or 0)
            if frame is None or Path(frame.f_code.co_filename).name in _IDLE:
                seen, looks = None, 0
                continue
            place = (id(frame), frame.f_lasti)
            looks = looks + 1 if place == seen and _is_waiting(self._thread) else 0
            seen = place
            if looks >= self._looks and self.blocked is None:
                self.blocked = _describe(frame)
            del frame  # a frame keeps the local variables of the call alive


def _is_waiting(thread: threading.Thread) -> bool:
    """Return whether *thread* sleeps.

    A thread that computes or waits for a disk does not sleep. Without /proc, return True.
    """
    try:
        status = Path(f"/proc/self/task/{thread.native_id}/stat").read_text(encoding="utf-8")
    except OSError:  # only Linux has /proc
        return True
    return status.rpartition(")")[2].split()[0] == "S"


def _describe(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
