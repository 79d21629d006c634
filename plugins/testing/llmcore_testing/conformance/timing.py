"""Time in the kits: a deadline for every call, and a watch for calls that block the event loop."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only by tests
import contextvars
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final, Generic, TypeVar

__all__ = ["Hung", "KitThread", "LoopWatch", "Worker"]

T = TypeVar("T")

_LOOK_S: Final = 0.01
"""Seconds between two looks at the event loop."""
_IDLE: Final = ("selectors.py", "subprocess.py")
"""Files in which an event loop may wait: for events, and for a child process to start."""


class Hung(Exception):
    """A call did not return in time. Its thread is abandoned."""


class KitThread(threading.Thread):
    """A thread in which a kit calls the backend."""


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
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the test
            self.error = error
        self.done.set()


class Worker:
    """Runs the calls of one test in a thread, each under a deadline: a call that hangs cannot hang the kit."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._start()
        self.has_hung = False

    def run(self, work: Callable[[], T], deadline_s: float) -> T:
        """Return what *work* returns.

        Raises:
            Hung: It did not return within *deadline_s* seconds.
        """
        if os.getpid() != self._process:  # a fork of a test has no such thread; its parent watches it
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
        """Let the thread end after the call that it runs."""
        self._jobs.put(None)

    def _start(self) -> None:
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self.thread = KitThread(target=_run_jobs, args=(self._jobs,), name="llmcore-kit", daemon=True)
        self.thread.start()


def _run_jobs(jobs: queue.SimpleQueue[_Job[Any] | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # so that the results of a call are not kept until the next one


class LoopWatch:
    """Finds the call that blocks the event loop of a thread: the loop stands still while its thread waits outside of it.

    Only waiting counts, not computing, since a busy machine slows that down.

    Args:
        thread: The thread of the event loop.
        limit_s: How long the loop may stand still.
    """

    def __init__(self, thread: threading.Thread, limit_s: float) -> None:
        self.blocked: str | None = None
        """Where the loop was blocked: function, file and line."""
        self._thread, self._looks = thread, max(2, round(limit_s / _LOOK_S))
        self._ticks = 0
        self._running = False
        self._stop = threading.Event()
        self._watcher = KitThread(target=self._watch, name="llmcore-kit-watch", daemon=True)
        self._watcher.start()

    async def watch(self, work: Any) -> Any:
        """Await *work* while the loop is watched."""
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
        seen: tuple[int, int, int] | None = None
        looks = 0
        while not self._stop.wait(_LOOK_S):
            frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - the documented way to see other threads
            if frame is None or not self._running or Path(frame.f_code.co_filename).name in _IDLE:
                seen, looks = None, 0
                continue
            place = (self._ticks, id(frame), frame.f_lasti)
            looks = looks + 1 if place == seen and _is_waiting(self._thread) else 0
            seen = place
            if looks >= self._looks and self.blocked is None:
                self.blocked = _describe(frame)
            del frame  # it would keep the locals of the call alive


def _is_waiting(thread: threading.Thread) -> bool:
    """Return whether *thread* waits, as far as the system tells: it neither computes nor is held up by a disk."""
    try:
        status = Path(f"/proc/self/task/{thread.native_id}/stat").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        return True
    return status.rpartition(")")[2].split()[0] == "S"


def _describe(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
