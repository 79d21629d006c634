"""Daemon threads for blocking backends in an event loop. A hanging method does not delay the exit of Python.

The default executor of asyncio is not used: it has only six threads on two cores, and `asyncio.run` waits for all of
them.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llmcore import forks
from llmcore.log import get_logger
from llmcore.threads import start_thread, submit_to, wait_for

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["WorkerThreads", "allow_workers", "call_in_worker", "run_in_worker"]

T = TypeVar("T")

_USUAL: Final = 64
_CALLERS: Final = 1000
_KEPT: Final = 64
"""The maximum number of threads of a pool that wait for their next call. After a burst of calls, further threads end."""
_LATE_S: Final = 1.0
"""If a method still runs this many seconds after its timeout, a warning is logged."""


class _Job:
    """One method call for a thread."""

    __slots__ = ("call", "is_abandoned")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.is_abandoned = False


class WorkerThreads:
    """A pool of at most *size* daemon threads. Threads start on demand, and at most 64 idle threads are kept."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = forks.lock()
        self._start()
        forks.watch(self)

    def _start(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._idle = self._threads = 0

    def after_fork(self) -> None:
        """Reset the pool in a forked child, which has none of the threads."""
        self._start()

    def submit(self, job: _Job) -> None:
        """Queue *job* for a thread.

        Raises:
            RuntimeError: No further thread can be started. The job is in the queue, for a thread that becomes free.
        """
        with self._lock:
            self._jobs.put(job)
            if self._idle:
                self._idle -= 1
                return
            if self._threads >= self.size:
                return
            self._threads += 1
        thread = threading.Thread(target=self._work, name="llmcore-call", daemon=True)
        if not start_thread(thread):
            with self._lock:
                self._threads -= 1
            raise RuntimeError

    def abandon(self, job: _Job) -> None:
        """Allow a new thread in place of the one that runs *job*, because the job may never end."""
        with self._lock:
            if not job.is_abandoned:
                job.is_abandoned = True
                self._threads -= 1

    def _work(self) -> None:
        jobs = self._jobs
        job: _Job | None = jobs.get()
        while job is not None:
            job.call()
            with self._lock:
                if job.is_abandoned:
                    return  # another thread has replaced this one
                try:
                    job = jobs.get_nowait()
                except Empty:
                    if self._idle >= _KEPT:
                        self._threads -= 1
                        return
                    self._idle += 1
                    job = None
            job = job or jobs.get()


_workers: Final = WorkerThreads(_USUAL)
_for_callers: Final = WorkerThreads(_CALLERS)
"""The threads for blocking callers, whose own threads wait for the result."""


def allow_workers(count: int) -> None:
    """Allow at least *count* threads, so that as many calls as `[limits] concurrency` allows can run."""
    _workers.size = max(_workers.size, count)


async def run_in_worker(function: Callable[..., T], *args: Any) -> T:
    """Call the blocking *function* of a backend in a thread with this task's context. Return its result.

    If the task is cancelled or its deadline passes, the thread is abandoned. A warning is logged if *function* does
    not end soon after that. If the system cannot start a thread, *function* runs in the event loop's thread.
    """
    import asyncio

    call = functools.partial(contextvars.copy_context().run, function, *args)
    jobs: list[_Job] = []

    def submit(work: Callable[[], object]) -> None:
        jobs.append(_Job(work))
        _workers.submit(jobs[0])

    done = submit_to(submit, call, call)
    try:
        return await asyncio.wrap_future(done)
    except asyncio.CancelledError:
        if done.running():
            _workers.abandon(jobs[0])
            _warn_later(function, done)
        raise


def call_in_worker(function: Callable[..., T], args: tuple[Any, ...], seconds: float) -> T:
    """Call the blocking *function* of a backend in a thread, and wait at most *seconds* for its result.

    After *seconds*, the thread is abandoned, and a warning is logged if *function* does not end soon. If no thread can
    be started, *function* is called in this thread.

    Raises:
        TimeoutError: *function* did not return in time.
    """
    call = functools.partial(contextvars.copy_context().run, function, *args)
    jobs: list[_Job] = []

    def submit(work: Callable[[], object]) -> None:
        jobs.append(_Job(work))
        _for_callers.submit(jobs[0])

    done = submit_to(submit, call, call)
    try:
        wait_for(done, seconds)
        if done.done():
            return done.result()
        raise TimeoutError
    finally:
        if not done.done() and not done.cancel():
            _for_callers.abandon(jobs[0])
            _warn_later(function, done)


def _unwrap(function: Any) -> Any:
    """Return the provider's method in *function*: remove partial functions and the function that tracks requests."""
    while isinstance(function, functools.partial):
        function = next(filter(callable, function.args), function.func)
    return function


def _warn_later(function: Callable[..., Any], done: Future[Any]) -> None:
    def warn() -> None:
        if not done.done():
            method = _unwrap(function)
            name = getattr(method, "__qualname__", type(method).__qualname__)
            get_logger(__name__).warning(
                "%s still runs %g s after its call ended, so its thread was abandoned; the method must obey timeout_s",
                name,
                _LATE_S,
            )

    timer = threading.Timer(_LATE_S, warn)
    timer.daemon = True
    start_thread(timer)
