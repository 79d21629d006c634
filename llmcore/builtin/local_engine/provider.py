"""The engine `local`: processes of this machine that end together with the process that started them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from llmcore.builtin.local_engine.worker import read_message, write_message
from llmcore.errors import EngineError
from llmcore.support import forks
from llmcore.support.threads import NO_THREAD, start_thread, submit

if TYPE_CHECKING:
    from llmcore.builtin.options import LocalOptions

__all__ = ["LocalEngine"]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, bytes, str]).decode
_CALLS: Final = 2
"""The number of calls that a worker runs at the same time.

A second call fills the time in which the first one waits for its last answers.
"""
_END_S: Final = 30.0
"""Seconds that a worker may take to complete its calls after `close`."""


class _Call(NamedTuple):
    function: Callable[[bytes], bytes]
    data: bytes
    future: Future[bytes]


class LocalEngine:
    """See `llmcore.contracts.EngineProvider`. A worker is started with the first call that needs it."""

    def __init__(self, options: LocalOptions) -> None:
        self._size = max(1, options.workers)
        self._workers: list[_Worker] = []
        self._queue: deque[_Call] = deque()
        self._lock = forks.lock()
        forks.watch(self)

    def count_slots(self) -> int:
        """See `EngineProvider.count_slots`."""
        return self._size * _CALLS

    def submit(self, function: Callable[[bytes], bytes], data: bytes) -> Future[bytes]:
        """See `EngineProvider.submit`."""
        call = _Call(function, data, Future())
        self._queue.append(call)
        self._start_calls()
        return call.future

    def close(self) -> None:
        """See `EngineProvider.close`. Calls that have begun are completed, within `_END_S`."""
        with self._lock:
            workers, self._workers = self._workers, []
            queue, self._queue = self._queue, deque()
        for call in queue:
            call.future.cancel()
        for worker in workers:
            worker.finish()
        for worker in workers:
            worker.join()

    def after_fork(self) -> None:
        """Leave the workers to the parent; see `forks.ForkAware`."""
        forks.leave_to_parent(self._workers)
        self._workers, self._queue = [], deque()

    def _start_calls(self) -> None:
        """Give queued calls to workers that have a free slot."""
        failed: list[tuple[_Call, EngineError]] = []
        with self._lock:
            self._workers = [worker for worker in self._workers if worker.is_alive]
            while self._queue:
                worker = min(self._workers, key=lambda worker: worker.load, default=None)
                try:
                    if worker is None or (worker.load and len(self._workers) < self._size):
                        worker = _Worker(self._start_calls)
                        self._workers.append(worker)
                except EngineError as error:
                    failed.append((self._queue.popleft(), error))
                    continue
                if worker.load >= _CALLS:
                    break
                call = self._queue.popleft()
                if call.future.set_running_or_notify_cancel():
                    worker.send(call)
        for call, fault in failed:
            call.future.set_exception(fault)


class _Worker:
    """One process, and the calls that it has not answered yet."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """Start a process. *on_change* is called when the process has a free slot, or has ended."""
        self._on_change = on_change
        path = os.pathsep.join(each for each in sys.path if each)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__.replace("provider", "worker")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
            )
        except OSError as error:
            raise EngineError(f"a worker process cannot be started: {error.strerror}") from None
        assert self._process.stdin is not None  # noqa: S101 - a pipe was requested
        assert self._process.stdout is not None  # noqa: S101 - a pipe was requested
        self._calls, self._results = self._process.stdin, self._process.stdout
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[bytes]] = {}
        self._number = 0
        self.is_alive = True  # until the thread reads the end of the results
        if not start_thread(threading.Thread(target=self._receive, name="llmcore-engine", daemon=True)):
            self.is_alive = False
            self._process.kill()
            raise EngineError(f"the results of a worker cannot be read: {NO_THREAD}")

    @property
    def load(self) -> int:
        """The number of calls that are not answered yet."""
        return len(self._waiting)

    def send(self, call: _Call) -> None:
        """Send a call to the process. If the process has ended, the call fails soon afterwards."""
        message = (self._number, call.function.__module__, call.function.__qualname__, call.data)
        with self._lock:
            self._waiting[self._number] = call.future
            self._number += 1
            # if the process has ended, the write fails, and the thread that reads the results fails the call
            with contextlib.suppress(OSError, ValueError):
                write_message(self._calls, _encode(message))
            if self.is_alive:
                return
        submit(self._fail_all, otherwise=self._fail_all)

    def finish(self) -> None:
        """Let the worker end after its calls."""
        with self._lock, contextlib.suppress(OSError):
            self._calls.close()

    def join(self) -> None:
        """Wait until the worker has ended."""
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _receive(self) -> None:
        while (message := read_message(self._results)) is not None:
            number, value, error = _decode(message)
            future = self._waiting.pop(number)
            if error:
                future.set_exception(EngineError(f"a worker failed: {error}"))
            else:
                future.set_result(value)
            self._on_change()
        self.is_alive = False
        self._fail_all()
        self._results.close()
        with contextlib.suppress(OSError):
            self._calls.close()
        self._process.wait()

    def _fail_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(EngineError("a worker process ended before it had answered", lost=True))
        self._on_change()
