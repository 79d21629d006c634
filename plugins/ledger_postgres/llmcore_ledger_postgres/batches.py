"""Group commit: concurrent requests share one statement. A request waits only while two statements are under way."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from llmcore.errors import LedgerUnavailable
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore.support.threads import submit
from llmcore_ledger_postgres.statements import Statement

__all__ = ["LARGEST", "Batcher", "Job"]

LARGEST: Final = 100
"""The maximum number of items in one statement."""
_LANES: Final = 2
"""The maximum number of concurrent statements of one kind."""

_INLINE_TIMEOUT_S: Final = 1.0
"""The timeout in seconds of a statement that blocks the event loop, because no thread could be started to send it."""
_LEAST_S: Final = 0.25
"""After a timeout, a job is sent again only if its deadline is at least this many seconds away."""


class Job:
    """An item for a statement.

    The caller waits for the result until `deadline`, on the clock of `time.monotonic`.
    """

    __slots__ = ("deadline", "done", "error", "is_taken", "item", "notify", "unknown", "value")

    def __init__(self, item: Any, deadline: float) -> None:
        self.item = item
        self.deadline = deadline
        self.is_taken = False
        """True if the job was sent, or its caller has given up."""
        self.unknown = False
        """True if a statement with this item failed, but may have been executed."""
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None
        self.notify: Callable[[], object] | None = None

    def finish(self, value: Any, error: Exception | None) -> None:
        """Store the result for the caller, and call `notify`."""
        if isinstance(error, LedgerUnavailable) and self.unknown != error.unknown:
            error = LedgerUnavailable(error.message, busy=error.busy, unknown=True)
        self.value, self.error, self.done = value, error, True
        if self.notify is not None:
            self.notify()


class Batcher:
    """Sends items of one kind: reservations or settlements."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._waiting: deque[Job] = deque()
        self._lanes = 0
        self._lock = forks.lock()
        forks.watch(self)

    def run(self, item: Any, timeout_s: float) -> Any:
        """Send *item*, blocking, and return its result.

        Raises:
            LedgerUnavailable: The ledger cannot be used, or did not answer in time.
        """
        job = None
        with self._lock:
            if self._lanes < _LANES:
                self._lanes += 1
            else:
                job, answered = Job(item, time.monotonic() + timeout_s), threading.Event()
                job.notify = answered.set
                self._waiting.append(job)
        if job is not None:
            answered.wait(max(0.0, timeout_s))
            return self.get_result(job)
        try:
            return self._statement.execute([item], timeout_s)[0]
        finally:
            self._leave()

    def add(self, jobs: Sequence[Job]) -> None:
        """Queue *jobs*. A thread sends them, and calls their `notify`."""
        with self._lock:
            for job in jobs:
                job.is_taken = False
            self._waiting.extend(jobs)
            if not self._waiting or self._lanes >= _LANES:
                return
            self._lanes += 1
        self._submit_drain()

    def after_fork(self) -> None:
        """Empty the queue in a forked child: its jobs belong to the parent; see `forks.ForkAware`."""
        self._waiting.clear()
        self._lanes = 0

    def get_result(self, job: Job) -> Any:
        """Return the result of a job that is done or whose deadline has passed.

        Raises:
            LedgerUnavailable: See `run`.
        """
        error = job.error if job.done else self.give_up(job)
        if error is not None:
            raise_unchained(error)
        return job.value

    def give_up(self, job: Job) -> LedgerUnavailable:
        """Return the error of a job whose deadline has passed.

        If the job is still in the queue, it will not be sent.
        """
        with self._lock:
            was_taken, job.is_taken = job.is_taken, True
        return LedgerUnavailable(
            "the ledger did not answer in time", busy=True, unknown=was_taken or job.unknown
        )

    def _leave(self) -> None:
        """After the statement of `run`, let a thread send the jobs that have been queued meanwhile."""
        with self._lock:
            if not self._waiting:
                self._lanes -= 1
                return
        self._submit_drain()

    def _drain(self, longest_s: float = math.inf) -> None:
        """Send the jobs in the queue until it is empty. Each job has at most *longest_s* seconds."""
        while True:
            with self._lock:
                jobs = self._take(longest_s)
                if not jobs:
                    self._lanes -= 1
                    return
            try:
                self._send(jobs, max(job.deadline for job in jobs))
            except BaseException:  # Ctrl-C in this thread; the jobs of other callers must still be sent
                self._put_back([job for job in jobs if not job.done])
                self._submit_drain()
                raise

    def _submit_drain(self) -> None:
        """Send the jobs of the queue in a thread.

        If no thread can be started, send them in this thread, with the timeout `_INLINE_TIMEOUT_S`.
        """
        submit(self._drain, otherwise=lambda: self._drain(_INLINE_TIMEOUT_S))

    def _take(self, longest_s: float) -> list[Job]:
        """Remove the next jobs from the queue. The caller must hold the lock."""
        jobs: list[Job] = []
        while self._waiting and len(jobs) < LARGEST:
            job = self._waiting.popleft()
            if not job.is_taken:
                job.is_taken = True
                job.deadline = min(job.deadline, time.monotonic() + longest_s)
                jobs.append(job)
        return jobs

    def _put_back(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            for job in jobs:
                job.is_taken = False
            self._waiting.extendleft(reversed(jobs))

    def _send(self, jobs: Sequence[Job], deadline: float) -> None:
        """Send *jobs* in one statement.

        If no answer has arrived at *deadline*, jobs with later deadlines are queued again.
        """
        try:
            values = self._statement.execute([job.item for job in jobs], deadline - time.monotonic())
        except Exception as raised:  # noqa: BLE001 - the callers get the exception
            error = raised
        else:
            for job, value in zip(jobs, values, strict=True):
                job.finish(value, None)
            return
        for job in jobs:
            job.unknown = job.unknown or getattr(error, "unknown", False)
        if getattr(error, "busy", False):
            least = max(time.monotonic(), deadline) + _LEAST_S
            self._put_back([job for job in jobs if job.deadline > least])
            jobs = [job for job in jobs if job.deadline <= least]
        elif len(jobs) > 1:
            for job in jobs:  # send each job separately, so that only the faulty job fails
                self._send([job], min(job.deadline, deadline))
            return
        for job in jobs:
            job.finish(None, error)
