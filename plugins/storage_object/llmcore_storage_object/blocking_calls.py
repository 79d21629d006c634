"""Interruptible blocking calls. Inside the SDK, Ctrl-C has no effect until the server answers.

Ctrl-C reaches only the main thread, so a worker thread makes the main thread's calls. An upload always runs in a
worker thread, while the thread that called the upload iterates over the source of the bytes.
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
from llmcore_storage_object.async_uploads import END, GRACE_S, UploadStopped

__all__ = ["call_interruptibly", "upload"]

T = TypeVar("T")

_REQUEST_NEXT: Final = object()
_STOP: Final = object()
_LOOK_S: Final = 0.5


def call_interruptibly(call: Callable[[], T]) -> T:
    """Return the result of *call*. On Ctrl-C, raise at once; *call* continues in a thread until its answer or timeout."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if not _WorkerThread.begin(call, results):
        return call()
    result: T = _get_result(_get_next(results))
    return result


def upload(put: Callable[[Iterator[Any]], T], pieces: Iterator[Any]) -> T:
    """Call the SDK's *put* with *pieces*. This thread fetches the pieces when the SDK requests them.

    Errors and interrupts are handled as in `async_uploads.upload`.
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
    """Return the next item.

    The wait has a timeout. Without one, it would not notice a Ctrl-C that came just before it began.
    """
    while True:
        with suppress(queue.Empty):
            return results.get(timeout=_LOOK_S)


class _PieceFeed:
    """The iterator that the SDK reads pieces from, in the worker thread."""

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
            raise UploadStopped
        return piece


class _WorkerThread:
    """A daemon thread that makes one call at a time."""

    _idle: Final[list[_WorkerThread]] = []

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._serve, name="llmcore-storage-object", daemon=True)

    @classmethod
    def begin(cls, call: Callable[[], Any], results: queue.SimpleQueue[Any]) -> bool:
        """Make *call* in an idle or new worker thread. The thread puts result and error into *results*.

        Return False if no worker is idle and the system cannot start a thread.
        """
        if sys.is_finalizing():  # Python starts no threads during shutdown
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
            except BaseException as raised:  # noqa: BLE001 - raised again in the waiting thread
                error = raised
            self._idle.append(self)
            results.put((result, error))
            del call, results, result, error  # frees memory while the thread is idle


forks.call_in_child(_WorkerThread._idle.clear)  # noqa: SLF001 - the parent's threads do not exist in a forked child


def _get_result(outcome: tuple[Any, BaseException | None]) -> Any:
    result, error = outcome
    if error is None:
        return result
    try:
        raise error
    finally:
        del error, outcome  # breaks the reference cycle between error, traceback and frame
