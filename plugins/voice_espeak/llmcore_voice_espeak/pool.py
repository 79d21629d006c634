"""A pool of worker processes: reused between texts, limited in number, ended when idle.

A caller acquires a worker for one text. Waiting callers are served in order. A worker that crashed, or whose caller was
cancelled, is not reused.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from llmcore.support import forks, threads
from llmcore_voice_espeak.deadline import Deadline
from llmcore_voice_espeak.process import Worker

__all__ = ["LIMIT", "WorkerPool", "get_shared_pool"]

LIMIT: Final = max(2, min(4, os.cpu_count() or 1))
"""Maximum workers, each of about 12 MB."""
_IDLE_S: Final = 30.0
"""Seconds after which an unused worker is ended."""
_CHECK_S: Final = 0.05
"""Seconds between deadline checks of a waiting caller."""


class _Waiter:
    """A caller that waits for a worker or for a free slot."""

    def __init__(self) -> None:
        self.served = threading.Event()
        self.worker: Worker | None = None


class WorkerPool:
    """A pool of at most *limit* workers."""

    def __init__(self, limit: int = LIMIT, idle_s: float = _IDLE_S) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._lock = forks.lock()
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._registered = False
        self._reset()
        forks.watch(self)

    def _reset(self) -> None:
        self._slots = 0
        """Slots in use: running workers, starting workers, and slots given to a waiter."""
        self._idle: deque[Worker] = deque()
        """Idle workers, the least recently used first."""
        self._workers: set[Worker] = set()
        self._waiters: deque[_Waiter] = deque()
        self._changed = threading.Condition(self._lock)
        self._reaper: threading.Thread | None = None

    def after_fork(self) -> None:
        """Leave all workers to the parent; a forked child starts new workers."""
        workers = self._workers
        self._reset()
        self._users.clear()
        for worker in workers:
            worker.forget()

    # -- for callers

    @contextmanager
    def take_worker(self, deadline: Deadline) -> Iterator[Worker]:
        """Acquire a worker for one text. If the `with` block raises, end the worker; otherwise reuse it.

        Raises:
            VoiceError: A worker cannot be started.
            Timeout, Cancelled: See `Deadline.check`.
        """
        taken = self._acquire(deadline)
        owner = os.getpid()
        kept = False
        try:
            deadline.attach(taken)
            yield taken
            kept = True
        finally:
            deadline.attach(None)
            if os.getpid() == owner:  # otherwise the `with` block forked, and the worker is the parent's
                self._release(taken, keep=kept)

    def join(self, user: object) -> None:
        """Register *user* as a user of workers."""
        with self._lock:
            self._users.add(user)

    def leave(self, user: object) -> None:
        """Unregister *user*; without users, idle workers are ended."""
        with self._lock:
            self._users.discard(user)
            ended = [] if len(self._users) else self._take_all_idle()
        for worker in ended:
            self._end(worker)

    def close(self) -> None:
        """End all workers. Python calls this method when it exits."""
        with self._lock:
            self._idle.clear()
            workers = list(self._workers)
        for worker in workers:
            worker.kill()
        for worker in workers:
            with suppress(Exception):
                worker.close()

    # -- acquire and release

    def _acquire(self, deadline: Deadline) -> Worker:
        deadline.check()
        while True:
            dead: Worker | None = None
            waiter: _Waiter | None = None
            with self._lock:
                if self._idle:
                    worker = self._idle.pop()
                    if worker.is_running():
                        return worker
                    dead = worker
                elif self._slots < self._limit:
                    self._slots += 1
                else:
                    waiter = _Waiter()
                    self._waiters.append(waiter)
            if dead is not None:  # the worker ended while it was idle
                self._end(dead)
                continue
            if waiter is None:
                return self._start()
            found = self._wait(waiter, deadline)
            return found if found is not None else self._start()

    def _wait(self, waiter: _Waiter, deadline: Deadline) -> Worker | None:
        """Wait for a release. Return the released worker; None if the caller got a free slot and may start a worker."""
        try:
            while not waiter.served.wait(_CHECK_S):
                deadline.check()
        except BaseException:
            with self._lock:
                if waiter.served.is_set():
                    self._serve(waiter.worker)
                else:
                    self._waiters.remove(waiter)
            raise
        return waiter.worker

    def _start(self) -> Worker:
        """Start a worker in the slot that the caller has taken. If this fails, release the slot."""
        worker: Worker | None = None
        try:
            # The lock prevents a fork before the worker is recorded. A forked child closes only pipes of recorded
            # workers.
            with self._lock:
                worker = Worker()
                self._workers.add(worker)
                if not self._registered:
                    self._registered = True
                    atexit.register(self.close)
        except BaseException:
            if worker is None:
                with self._lock:
                    self._serve(None)
            else:  # the caller was interrupted after the worker had started
                self._workers.add(worker)
                self._end(worker)
            raise
        return worker

    def _release(self, worker: Worker, *, keep: bool) -> None:
        if keep and worker.is_running():
            with self._lock:
                if self._waiters or self._has_reaper():
                    worker.idle_since = time.monotonic()
                    self._serve(worker)
                    return
        self._end(worker)

    def _serve(self, worker: Worker | None) -> None:
        """Give *worker*, or a free slot if *worker* is None, to the first waiter. The lock must be held.

        If there is no waiter, the worker becomes idle, or the slot becomes free.
        """
        if self._waiters:
            waiter = self._waiters.popleft()
            waiter.worker = worker
            waiter.served.set()
        elif worker is not None:
            self._idle.append(worker)
            self._changed.notify()
        else:
            self._slots -= 1

    def _end(self, worker: Worker) -> None:
        """End *worker* and release its slot."""
        worker.kill()
        try:
            worker.close()
        finally:
            with self._lock:
                if worker in self._workers:
                    self._workers.discard(worker)
                    self._serve(None)

    def _take_all_idle(self) -> list[Worker]:
        workers = list(self._idle)
        self._idle.clear()
        self._changed.notify()
        return workers

    # -- ending idle workers

    def _has_reaper(self) -> bool:
        """Return whether a thread ends idle workers; start a thread if none runs. The caller holds the lock."""
        if self._reaper is None:
            reaper = threading.Thread(target=self._end_idle_workers, name="llmcore-espeak-idle", daemon=True)
            if not threads.start_thread(reaper):  # without this thread, idle workers would never end
                return False
            self._reaper = reaper
        return True

    def _end_idle_workers(self) -> None:
        while True:
            with self._lock:
                if not self._idle:
                    self._reaper = None
                    return
                left = self._idle[0].idle_since + self._idle_s - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                worker = self._idle.popleft()
            self._end(worker)


_shared: Final = WorkerPool()


def get_shared_pool() -> WorkerPool:
    """Return the pool of this process."""
    return _shared
