"""Send statements and receive their answers in the event loop.

A thread for each statement would take more CPU than the statement itself. The threads of `batches.py` send
the statements that must wait for a connection or take long, and those that failed.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from llmcore.support import forks
from llmcore.support.completion import Interrupted
from llmcore_ledger_postgres.batches import LARGEST, Batcher, Job
from llmcore_ledger_postgres.connections import TIMED_OUT, Connections, Session
from llmcore_ledger_postgres.statements import Statement

if TYPE_CHECKING:
    import asyncio

__all__ = ["LoopLanes"]

_ALONE: Final = 8
"""After this number of consecutive statements with one job, the next job is sent without waiting for further jobs."""
_PATIENCE_S: Final = 0.25
"""If a statement takes more than this number of seconds, threads send the jobs that are queued after it."""


class LoopLanes:
    """Sends items of one kind for the tasks of any event loop."""

    def __init__(self, statement: Statement, connections: Connections, batcher: Batcher) -> None:
        self._statement = statement
        self._connections = connections
        self._batcher = batcher
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        self._lock = forks.lock()
        connections.watch(self)
        forks.watch(self)

    async def run(self, item: Any, timeout_s: float) -> Any:
        """See `Batcher.run`. If the task is cancelled, wait for the job, then raise `Interrupted` with its result."""
        import asyncio

        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop) or self._add_lane(loop)
        return await lane.run(item, timeout_s)

    def _add_lane(self, loop: asyncio.AbstractEventLoop) -> _Lane:
        self.end_abandoned()
        with self._lock:
            lane = self._lanes[loop] = _Lane(loop, self._statement, self._connections, self._batcher)
        return lane

    def end_abandoned(self) -> None:
        """Give up the connections of statements whose event loop cannot receive the answer.

        If the loop was closed, close its connections. A stopped loop may run again and use them, so let the pool replace
        those of overdue statements.
        """
        with self._lock:
            closed = [self._lanes.pop(each) for each in [*self._lanes] if each.is_closed()]
            stopped = [lane for loop, lane in self._lanes.items() if not loop.is_running()]
        for lane in closed:
            lane.abandon()
        for lane in stopped:
            lane.replace_overdue()

    def after_fork(self) -> None:
        """Leave the statements in progress to the parent; see `forks.ForkAware`."""
        forks.leave_to_parent(self._lanes)
        self._lanes = {}


class _Lane:
    """Sends one statement at a time. All methods run in the event loop, if they do not say otherwise."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        statement: Statement,
        connections: Connections,
        batcher: Batcher,
    ) -> None:
        self._loop = loop
        self._statement = statement
        self._connections = connections
        self._batcher = batcher
        self._waiting: deque[_Job] = deque()
        self._pending: set[_Job] = set()
        """All jobs whose tasks wait for a result."""
        self._is_busy = False
        """True if a statement is in progress, or `_send` is scheduled."""
        self._alone = 0
        """The number of consecutive statements with one job."""
        self._session: Session | None = None
        """The connection of the current statement."""
        self._jobs: list[_Job] = []
        """The jobs of the current statement."""
        self._fd = -1
        """The descriptor that the event loop watches for the current statement; -1 if it watches none."""
        self._is_writing = False
        """True if the event loop also waits until the socket takes more of the statement."""
        self._deadline = 0.0
        """The latest deadline of the jobs of the current statement, on the clock of `time.monotonic`."""
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def run(self, item: Any, timeout_s: float) -> Any:
        """See `LoopLanes.run`."""
        import asyncio

        now = time.monotonic()
        job = _Job(item, now + timeout_s, self._loop.create_future())
        self._waiting.append(job)
        self._pending.add(job)
        wakes_at = min(job.deadline, now + _PATIENCE_S)
        if self._timer is None or wakes_at < self._timer_at:
            self._set_timer(wakes_at, now)
        cancellation = None
        try:
            if not self._is_busy:
                self._is_busy = True
                if self._alone >= _ALONE:
                    self._send()
                else:
                    self._loop.call_soon(self._send)  # runs after all ready tasks have queued their items
            while True:
                try:
                    await job.future
                except asyncio.CancelledError as error:
                    cancellation = cancellation or error
                    if not job.done and time.monotonic() < job.deadline:
                        job.future = self._loop.create_future()
                        continue
                break
        finally:
            self._pending.discard(job)
        if cancellation is None:
            return self._batcher.get_result(job)
        failure = job.error if job.done else self._batcher.give_up(job)
        try:
            raise Interrupted(job.value, failure, cancellation)
        finally:
            del cancellation, failure  # breaks the reference cycle of frame and traceback

    def abandon(self) -> None:
        """After the event loop was closed, close the connection of the current statement."""
        session, self._session = self._session, None
        self._connections.end(session, RuntimeError("the event loop is closed"))

    def replace_overdue(self) -> None:
        """Let another connection take the place of this one in the pool, if the statement has missed its deadline.

        Any thread may call this method.
        """
        session = self._session
        if session is not None and self._deadline < time.monotonic():
            self._connections.replace(session)

    # -- the current statement

    def _send(self) -> None:
        self._take_jobs()
        if not self._jobs:
            self._is_busy = False
            return
        try:
            if self._statement.is_ready():
                self._start()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        else:
            if self._session is None:
                self._leave_to_threads(unknown=False)

    def _take_jobs(self) -> None:
        now = time.monotonic()
        while self._waiting and len(self._jobs) < LARGEST:
            job = self._waiting.popleft()
            if now < job.deadline:
                job.is_taken = True
                self._jobs.append(job)

    def _start(self) -> None:
        jobs = self._jobs
        self._alone = self._alone + 1 if len(jobs) == 1 else 0
        self._deadline = max([job.deadline for job in jobs])
        self._sent_at = time.monotonic()
        args = self._statement.encode([job.item for job in jobs], self._deadline - self._sent_at)
        session = self._session = self._connections.borrow_idle(self._deadline)
        if session is None:
            return
        is_sent = session.start(self._statement.text, args)
        fd = session.get_descriptor()
        self._loop.add_reader(fd, self._receive)
        self._fd = fd
        if not is_sent:
            self._loop.add_writer(fd, self._flush)
            self._is_writing = True

    def _flush(self) -> None:
        """Send the next bytes of a statement that did not fit into the socket's buffer."""
        session = self._session
        if session is None:
            return
        try:
            if not session.pgconn.flush():
                self._is_writing = False
                self._loop.remove_writer(self._fd)
        except Exception as error:  # noqa: BLE001 - a thread sends the statement again
            self._fail(error)

    def _receive(self) -> None:
        session = self._session
        if session is None:
            return
        try:
            answer = session.receive()
            if answer is None:
                return
            values = self._statement.decode([job.item for job in self._jobs], answer)
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
            return
        self._stop_watching()
        self._session = None
        self._connections.give_back(session)
        if values is None:  # further statements are needed
            self._leave_to_threads(unknown=True)
            return
        jobs, self._jobs = self._jobs, []
        for job, value in zip(jobs, values, strict=True):
            job.value, job.done = value, True
            job.wake()
        self._go_on()

    def _fail(self, error: BaseException) -> None:
        """End the failed statement, and leave its jobs to a thread."""
        session, self._session = self._session, None
        if session is not None:
            self._stop_watching()
            self._connections.end(session, error)
        self._leave_to_threads(unknown=session is not None)

    def _stop_watching(self) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        self._loop.remove_reader(fd)
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(fd)

    def _leave_to_threads(self, *, unknown: bool) -> None:
        jobs, self._jobs = self._jobs, []
        self._hand_over(jobs, unknown=unknown)
        self._go_on()

    def _hand_over(self, jobs: Iterable[_Job], *, unknown: bool) -> None:
        now = time.monotonic()
        left = [job for job in jobs if now < job.deadline]
        for job in left:
            job.unknown = unknown
            job.notify = functools.partial(_notify, self._loop, job)
        self._batcher.add(left)

    def _go_on(self) -> None:
        self._is_busy = bool(self._waiting)
        if self._is_busy:
            self._loop.call_soon(self._send)

    # -- time

    def _set_timer(self, at: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - now), self._check_time)

    def _check_time(self) -> None:
        """Wake the tasks whose deadline has passed. One timer for all jobs takes less CPU than many timers."""
        self._timer = None
        now = time.monotonic()
        for job in self._pending:
            if job.deadline <= now:
                job.wake()
        if self._session is not None and self._deadline <= now:
            self._fail(TimeoutError(TIMED_OUT))
        elif self._session is not None and self._waiting and self._sent_at + _PATIENCE_S <= now:
            jobs, self._waiting = self._waiting, deque()
            self._hand_over(jobs, unknown=False)
        deadlines = [job.deadline for job in self._pending if now < job.deadline]
        if deadlines:
            self._set_timer(min(*deadlines, now + _PATIENCE_S), now)


class _Job(Job):
    """A job whose task waits for `future`."""

    __slots__ = ("future",)

    def __init__(self, item: Any, deadline: float, future: asyncio.Future[None]) -> None:
        super().__init__(item, deadline)
        self.future = future

    def wake(self) -> None:
        """Wake the task."""
        if not self.future.done():
            self.future.set_result(None)


def _notify(loop: asyncio.AbstractEventLoop, job: _Job) -> None:
    try:
        loop.call_soon_threadsafe(job.wake)
    except RuntimeError:  # the loop is closed, so no task waits for the result
        return
