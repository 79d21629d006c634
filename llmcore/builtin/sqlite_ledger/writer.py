"""Group commit: concurrent callers share one transaction, and a single caller commits at once."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import apsw

from llmcore.builtin.sqlite_ledger.database import Database
from llmcore.builtin.sqlite_ledger.errors import FILE_ERRORS, translate_error
from llmcore.support import forks
from llmcore.support.completion import Interrupted
from llmcore.support.errors import raise_unchained
from llmcore.support.threads import submit

if TYPE_CHECKING:
    import asyncio

__all__ = ["INLINE_TIMEOUT_S", "LOCK_TIMEOUT_S", "Work", "Writer"]

Work = Callable[[apsw.Connection], Any]
"""A function that runs in a transaction.

If the function refuses the work, it must return before its first write, because the transaction is committed anyway.
"""

LOCK_TIMEOUT_S: Final = 10.0
"""The default timeout for locks of other processes."""
INLINE_TIMEOUT_S: Final = 1.0
"""The timeout for work that runs in the caller's thread because no thread could be started."""
_ATTEMPT_S: Final = 0.1
"""The duration of one attempt to get the lock, in seconds.

Work that is queued meanwhile must wait for the end of the attempt, even with a shorter timeout.
"""


class _Job:
    __slots__ = ("deadline", "done", "error", "future", "value", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any] | None, timeout_s: float) -> None:
        self.work = work
        self.future = future
        self.deadline = time.monotonic() + timeout_s
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None

    def finish(self, value: Any, error: Exception | None) -> None:
        if isinstance(error, FILE_ERRORS):
            error = translate_error(error)
        self.value, self.error, self.done = value, error, True
        if self.future is not None:
            _resolve(self.future, value, error)


class Writer:
    """Runs work in transactions. The caller that gets the database lock also commits the queued work of other callers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Job] = deque()  # operations of a deque are atomic and need no lock
        self._flushing: set[int] = set()
        self._committing = False
        forks.watch(self)

    def run(self, work: Work, timeout_s: float = LOCK_TIMEOUT_S) -> Any:
        """Run *work* in blocking mode and return its result.

        An exception of *work* rolls back only this work. Raises `LedgerUnavailable` if the file is unusable, with `busy=True`
        if another process holds the write lock longer than *timeout_s*.

        If the garbage collector calls this method during a commit of the same thread, *work* runs later in that commit, and
        the result is None.
        """
        job = _Job(work, None, timeout_s)
        self._waiting.append(job)
        # Do not wait for the lock without end: the thread that has it may commit or fail this job, and then
        # wait for other work.
        while not job.done:
            if not self._database.lock.acquire(timeout=_ATTEMPT_S):
                continue
            try:
                if self._committing:
                    # no caller waits for the job, so give it the whole timeout
                    job.deadline = max(job.deadline, time.monotonic() + LOCK_TIMEOUT_S)
                    return None
                if not job.done:
                    self._commit(wait=True, own=job)
            finally:
                self._database.lock.release()
        if job.error is not None:
            raise_unchained(job.error)
        return job.value

    async def run_async(self, work: Work, timeout_s: float = LOCK_TIMEOUT_S) -> Any:
        """See `run`. If the task is cancelled, the queued work is still committed, and `Interrupted` is raised."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        job = _Job(work, future, timeout_s)
        self._waiting.append(job)
        if id(loop) not in self._flushing:
            self._flushing.add(id(loop))
            loop.call_soon(self._flush, loop)  # runs after all ready tasks have queued their work
        try:
            return await future
        except asyncio.CancelledError as error:
            cancellation = error
        # Queued work is always committed. A cancelled caller gets the result together with the cancellation.
        while not job.done:
            job.future = loop.create_future()
            if not job.done:  # another thread may have committed the job meanwhile
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    await job.future
        try:
            raise Interrupted(job.value, job.error, cancellation)
        finally:
            del cancellation  # breaks the reference cycle of frame and traceback

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Commit in the event loop. A commit takes microseconds.

        If the database is in use, commit in a thread instead.
        """
        self._flushing.discard(id(loop))
        if self._database.lock.acquire(blocking=False):
            try:
                if self._commit(wait=False):
                    return
            finally:
                self._database.lock.release()
        submit(self._drain, otherwise=self._drain_inline)

    def after_fork(self) -> None:
        """Drop the queue in a forked child, because it belongs to the parent; see `forks.ForkAware`."""
        self._waiting.clear()
        self._flushing.clear()
        self._committing = False

    def _drain(self) -> None:
        with self._database.lock:
            self._commit(wait=True)

    def _drain_inline(self) -> None:
        """Commit in the caller's thread, which then waits. So the queued work has at most `INLINE_TIMEOUT_S`."""
        limit = time.monotonic() + INLINE_TIMEOUT_S
        jobs = list(self._waiting)
        for job in jobs:
            job.deadline = min(job.deadline, limit)
        while not all(job.done for job in jobs):  # the thread that has the lock commits these jobs too
            if self._database.lock.acquire(timeout=_ATTEMPT_S):
                try:
                    self._commit(wait=True)
                finally:
                    self._database.lock.release()

    def _commit(self, *, wait: bool, own: _Job | None = None) -> bool:
        """Commit all queued work.

        Return False if another process holds the lock and *wait* is False. With *own*, return when this job is done, even
        if other jobs still wait for the lock. Each waiting thread commits its own job, and a separate thread commits
        the jobs of waiting tasks.
        """
        self._committing = True
        try:
            while self._waiting:
                if self._commit_queued(wait=wait):
                    continue
                if not wait:
                    return False
                if own is not None and not own.done:
                    continue
                tasks_wait = any(job.future is not None for job in list(self._waiting))
                if own is not None and tasks_wait:
                    submit(self._drain, otherwise=self._drain_inline)
                if own is not None or not tasks_wait:
                    return True
        finally:
            self._committing = False
        return True

    def _commit_queued(self, *, wait: bool) -> bool:
        """Commit the currently queued jobs. Return False if another process holds the lock."""
        jobs = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._commit_jobs(jobs, _get_timeout(jobs) if wait else 0.0)
        except apsw.BusyError as error:
            now = time.monotonic()
            expired = [job for job in jobs if wait and job.deadline <= now]
            self._waiting.extendleft(reversed([job for job in jobs if job not in expired]))
            _fail(expired, error)
            return False
        except Exception as error:  # noqa: BLE001 - the error of a job is raised to the caller of the job
            if len(jobs) == 1:
                _fail(jobs, error)
            else:
                self._commit_each(jobs)
        except BaseException:  # this caller received Ctrl-C; the jobs of other callers must still run
            self._waiting.extendleft(reversed([job for job in jobs if not job.done]))
            raise
        return True

    def _commit_each(self, jobs: list[_Job]) -> None:
        """Commit each job in a separate transaction, so that one failing job does not affect the others."""
        for job in jobs:
            try:
                self._commit_jobs([job], _get_timeout([job], LOCK_TIMEOUT_S))
            except Exception as error:  # noqa: BLE001 - the caller of the job gets its exception
                _fail([job], error)

    def _commit_jobs(self, jobs: list[_Job], timeout_s: float) -> None:
        connection = self._database.connect(timeout_s=timeout_s)
        connection.execute("BEGIN IMMEDIATE")
        try:
            values = [job.work(connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        for job, value in zip(jobs, values, strict=True):
            job.finish(value, None)


def _get_timeout(jobs: list[_Job], maximum: float = _ATTEMPT_S) -> float:
    """Return the seconds that an attempt at *jobs* may wait: until the earliest deadline, at most *maximum*."""
    return max(0.0, min(maximum, min(job.deadline for job in jobs) - time.monotonic()))


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.finish(None, error)


def _resolve(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    """Set the result of *future* in the event loop of *future*."""
    import asyncio

    loop = future.get_loop()
    try:
        is_own_loop = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_own_loop = False
    if is_own_loop:
        _set_result(future, value, error)
        return
    try:
        loop.call_soon_threadsafe(_set_result, future, value, error)
    except RuntimeError:  # the loop is closed, so no task waits for it
        return


def _set_result(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
