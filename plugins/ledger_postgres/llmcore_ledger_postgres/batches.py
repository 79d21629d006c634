"""Group commit: concurrent requests share one statement. A lone request is sent at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from llmcore.errors import LedgerUnavailable
from llmcore.support import forks
from llmcore.support.completion import Interrupted
from llmcore.support.errors import raise_unchained
from llmcore.support.threads import submit

__all__ = ["Batcher"]

_LARGEST: Final = 100
"""The maximum number of items in one statement."""
_LANES: Final = 2
"""The maximum number of concurrent statements of one kind."""

Execute = Callable[[Sequence[Any], float], Sequence[Any]]
"""A function that sends items in one statement within the given seconds, and returns one result per item."""


class _Job:
    __slots__ = ("deadline", "done", "error", "item", "notify", "value")

    def __init__(self, item: Any, deadline: float) -> None:
        self.item = item
        self.deadline = deadline
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None
        self.notify: Callable[[], object] | None = None


class Batcher:
    """Sends items of one kind."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._waiting: deque[_Job] = deque()
        self._lanes = 0
        self._lock = forks.lock()
        forks.watch(self)

    def run(self, item: Any, timeout_s: float) -> Any:
        """Send *item*, blocking, and return its result.

        Raises:
            LedgerUnavailable: The ledger cannot be used, or did not answer in time.
        """
        job = _Job(item, time.monotonic() + timeout_s)
        if self._enter(job):
            self._drain(job)
        else:
            answered = threading.Event()
            job.notify = answered.set
            if not job.done:
                answered.wait(max(0.0, job.deadline - time.monotonic()))
        if not job.done:
            raise LedgerUnavailable("the ledger did not answer in time", busy=True, unknown=True)
        if job.error is not None:
            raise_unchained(job.error)
        return job.value

    async def run_async(self, item: Any, timeout_s: float) -> Any:
        """See `run`. If the task is cancelled, wait for the result, then raise `Interrupted` with the result."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        job = _Job(item, time.monotonic() + timeout_s)

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        def notify() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:  # the loop is closed, so no task waits for the result
                return

        job.notify = notify
        if self._enter(job):
            submit(self._drain)
        cancellation = None
        while not job.done:
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError as error:
                cancellation = cancellation or error
        if cancellation is not None:
            try:
                raise Interrupted(job.value, job.error, cancellation)
            finally:
                del cancellation  # breaks the reference cycle of frame and traceback
        if job.error is not None:
            raise_unchained(job.error)
        return job.value

    def after_fork(self) -> None:
        """Forget the queue, which belongs to the parent; see `forks.ForkAware`."""
        self._waiting.clear()
        self._lanes = 0

    def _enter(self, job: _Job) -> bool:
        """Queue *job*. Return whether the caller must send the queue."""
        with self._lock:
            self._waiting.append(job)
            if self._lanes < _LANES:
                self._lanes += 1
                return True
            return False

    def _drain(self, own: _Job | None = None) -> None:
        """Send the queue. After the job *own* of the caller, leave the remaining jobs to a thread."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._lanes -= 1
                    return
                if own is not None and own.done:
                    break
                jobs = [self._waiting.popleft() for _ in range(min(_LARGEST, len(self._waiting)))]
            try:
                self._send(jobs)
            except BaseException:  # Ctrl-C in this thread; the jobs of other callers must still be sent
                with self._lock:
                    self._waiting.extendleft(
                        reversed([job for job in jobs if not job.done and job is not own])
                    )
                submit(self._drain)
                raise
        submit(self._drain)

    def _send(self, jobs: list[_Job]) -> None:
        timeout_s = max(job.deadline for job in jobs) - time.monotonic()
        values: Sequence[Any] = ()
        error: Exception | None = None
        try:
            values = self._execute([job.item for job in jobs], timeout_s)
        except Exception as raised:  # noqa: BLE001 - passed to the callers
            error = raised
        if error is not None and len(jobs) > 1 and not getattr(error, "busy", False):
            for job in jobs:  # only the faulty job fails
                self._send([job])
            return
        for number, job in enumerate(jobs):
            job.value, job.error, job.done = None if error else values[number], error, True
            if job.notify is not None:
                job.notify()
