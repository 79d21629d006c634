"""Interruptible blocking calls: inside of the SDK, Ctrl-C would have no effect before the server answers.

So a worker thread makes the calls of the main thread, the only one that Ctrl-C interrupts. It also makes the uploads of every
thread, while the thread that saves iterates over its source.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

from llmcore.support import forks
from llmcore.support.threads import start_thread
from llmcore_storage_object.feeding import END, GRACE_S, Stopped

__all__ = ["call_interruptibly", "upload"]

T = TypeVar("T")

_REQUEST_NEXT: Final = object()
_STOP: Final = object()
_LOOK_S: Final = 0.5


def call_interruptibly(call: Callable[[], T]) -> T:
    """Return the result of *call*. After an interrupt, do not wait for it: it ends with the server's answer or its timeout."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if not _WorkerThread.begin(call, results):
        return call()
    result: T = _get_result(_get_next(results))
    return result


def upload(put: Callable[[Iterator[Any]], T], pieces: Iterator[Any]) -> T:
    """Call the SDK's *put* with *pieces*, which this thread fetches as the SDK requests them.

    Failures and interrupts are handled as in the async variant in `feeding`.
    """
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    feed = _PieceFeed(results)
    if not _WorkerThread.begin(lambda: put(feed), results):
        return put(pieces)
    try:
        while (outcome := _get_next(results)) is _REQUEST_NEXT:
            feed.answers.put(next(pieces, END))
    except BaseException:
        feed.answers.put(_STOP)
        if feed.began:
            with suppress(queue.Empty):
                while results.get(timeout=GRACE_S) is _REQUEST_NEXT:
                    pass
        raise
    result: T = _get_result(outcome)
    return result


def _get_next(results: queue.SimpleQueue[Any]) -> Any:
    """Return the next item. The timeout lets Python handle a Ctrl-C that arrives just before the waiting begins."""
    while True:
        with suppress(queue.Empty):
            return results.get(timeout=_LOOK_S)


class _PieceFeed:
    """The iterator over the pieces for the SDK, in the worker thread."""

    def __init__(self, results: queue.SimpleQueue[Any]) -> None:
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.began = False
        self._results = results

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.began = True
        self._results.put(_REQUEST_NEXT)
        piece = self.answers.get()
        if piece is END:
            raise StopIteration
        if piece is _STOP:
            raise Stopped
        return piece


class _WorkerThread:
    """A daemon thread that makes one call after the other."""

    _idle: Final[list[_WorkerThread]] = []

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._serve, name="llmcore-storage-object", daemon=True)

    @classmethod
    def begin(cls, call: Callable[[], Any], results: queue.SimpleQueue[Any]) -> bool:
        """Make *call* in an idle or new worker thread, which puts the result and the error into *results*.

        Return False if no thread is idle and none can be started.
        """
        if sys.is_finalizing():  # no thread can run
            return False
        try:
            worker = cls._idle.pop()
        except IndexError:
            worker = cls()
            if not start_thread(worker.thread):
                return False
        worker._calls.put((call, results))
        return True

    def _serve(self) -> None:
        while True:
            call, results = self._calls.get()
            result = error = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - raised in the waiting thread
                error = raised
            self._idle.append(self)
            results.put((result, error))
            del call, results, result, error  # they may be large


forks.call_in_child(_WorkerThread._idle.clear)  # noqa: SLF001 - the threads are the parent's


def _get_result(outcome: tuple[Any, BaseException | None]) -> Any:
    result, error = outcome
    if error is None:
        return result
    try:
        raise error
    finally:
        del error, outcome  # breaks the reference cycle of error, traceback and frame
