"""Commits: a caller alone commits at once, callers in company commit together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import apsw

from llmcore.builtin.forks import watch
from llmcore.calls.steps import Step
from llmcore.ledger.database import Database

if TYPE_CHECKING:
    import asyncio

__all__ = ["Work", "Writer"]

Work = Callable[[apsw.Connection], Any]
"""What is done in a transaction. It returns a verdict, and writes nothing before it has come to one."""

PATIENCE_S: Final = 10.0
"""How long other processes are waited for."""


class _Job:
    __slots__ = ("done", "error", "future", "value", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any] | None) -> None:
        self.work = work
        self.future = future
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None

    def ended(self, value: Any, error: Exception | None) -> None:
        self.value, self.error, self.done = value, error, True
        if self.future is not None:
            _tell(self.future, value, error)


class Writer:
    """Does work in transactions. Whoever gets the database's lock commits what all others have queued meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Job] = deque()  # its own steps are atomic, and need no lock
        self._flushing: set[int] = set()
        self._committing = False
        watch(self)

    def step(self, work: Work) -> Step:
        """Return the step that does *work* and has its result; what it raises undoes it alone."""
        return Step(self.now, self._awaited, work)

    def now(self, work: Work) -> Any:
        """Do *work*, blocking: for cleaning up where no step may be taken.

        Where the garbage collector asks for it in the middle of this thread's own commit, that commit does it later,
        and the result is None.
        """
        job = _Job(work, None)
        self._waiting.append(job)
        with self._database.lock:
            if self._committing:
                return None
            if not job.done:
                self._commit(PATIENCE_S)
        if job.error is not None:
            raise job.error
        return job.value

    async def _awaited(self, work: Work) -> Any:
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Job(work, future))
        if id(loop) not in self._flushing:
            self._flushing.add(id(loop))
            loop.call_soon(self._flush, loop)  # when all that is ready in this round has queued its own
        return await future

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Commit in the loop, which takes microseconds; where others are at it, in a thread, since that may take longer."""
        self._flushing.discard(id(loop))
        if self._database.lock.acquire(blocking=False):
            try:
                if self._commit(0.0):
                    return
            finally:
                self._database.lock.release()
        try:
            loop.run_in_executor(None, self._drain)
        except RuntimeError:  # its threads are shut down
            self._drain()

    def fork_locks(self) -> tuple[()]:
        """See `ForkAware`."""
        return ()

    def after_fork(self, *, at_rest: bool) -> None:  # noqa: ARG002 - what was queued is the parent's in either case
        """See `ForkAware`."""
        self._waiting.clear()
        self._flushing.clear()
        self._committing = False

    def _drain(self) -> None:
        with self._database.lock:
            self._commit(PATIENCE_S)

    def _commit(self, patience_s: float) -> bool:
        """Do all that is queued; return False where other processes were in the way and there was no patience."""
        self._committing = True
        try:
            while self._waiting:
                if not self._committed(patience_s):
                    return False
        finally:
            self._committing = False
        return True

    def _committed(self, patience_s: float) -> bool:
        jobs = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._together(jobs, patience_s)
        except apsw.BusyError as error:
            if not patience_s:
                self._waiting.extendleft(reversed(jobs))
                return False
            _fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the job that raised it
            if len(jobs) == 1:
                _fail(jobs, error)
            else:
                self._one_by_one(jobs)
        except BaseException:  # a Ctrl-C: it is one caller's, and what others wait for is still to be done
            self._waiting.extendleft(reversed([job for job in jobs if not job.done]))
            raise
        return True

    def _one_by_one(self, jobs: list[_Job]) -> None:
        """Do each by itself, so that what fails fails alone."""
        for job in jobs:
            try:
                self._together([job], PATIENCE_S)
            except Exception as error:  # noqa: BLE001 - told to whoever waits for it
                _fail([job], error)

    def _together(self, jobs: list[_Job], patience_s: float) -> None:
        connection = self._database.connection(patience_s=patience_s)
        connection.execute("BEGIN IMMEDIATE")
        try:
            values = [job.work(connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        for job, value in zip(jobs, values, strict=True):
            job.ended(value, None)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.ended(None, error)


def _tell(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    """Give *future* its result, in its own loop."""
    import asyncio

    loop = future.get_loop()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        _told(future, value, error)
        return
    try:
        loop.call_soon_threadsafe(_told, future, value, error)
    except RuntimeError:  # the loop is closed, and with it whoever waited
        return


def _told(future: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
