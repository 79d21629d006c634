"""The blocking colour, interruptible: a blocking call of the SDK would see a Ctrl-C only when the server has answered.

So calls of the main thread, which alone is interrupted, are made in a thread beside it. Streams are too, from any thread: the
thread that saves goes on iterating over its own source.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

from llmcore_storage_object.feeding import END, GRACE_S, Stopped

__all__ = ["fed", "waited"]

T = TypeVar("T")

_ASKED: Final = object()
_STOP: Final = object()
_LOOK_S: Final = 0.5


def waited(call: Callable[[], T]) -> T:
    """Return what *call* returns. Interrupted, leave it behind: it ends with the server's answer, or its timeout."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    _Beside.begin(call, told)
    result: T = _result(_got(told))
    return result


def fed(put: Callable[[Iterator[Any]], T], pieces: Iterator[Any]) -> T:
    """Have the SDK *put* the *pieces*, which this thread iterates over as the SDK asks for them.

    When they fail or this thread is interrupted, see the asynchronous twin in `feeding`.
    """
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given = _Given(told)
    _Beside.begin(lambda: put(given), told)
    try:
        while (said := _got(told)) is _ASKED:
            given.answers.put(next(pieces, END))
    except BaseException:
        given.answers.put(_STOP)
        if given.began:
            with suppress(queue.Empty):
                while told.get(timeout=GRACE_S) is _ASKED:
                    pass
        raise
    result: T = _result(said)
    return result


def _got(told: queue.SimpleQueue[Any]) -> Any:
    """Return what comes next. A Ctrl-C that arrives just before the waiting begins is seen when the waiting is looked after."""
    while True:
        with suppress(queue.Empty):
            return told.get(timeout=_LOOK_S)


class _Given:
    """The pieces as the SDK sees them, in the thread beside."""

    def __init__(self, told: queue.SimpleQueue[Any]) -> None:
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.began = False
        self._told = told

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.began = True
        self._told.put(_ASKED)
        piece = self.answers.get()
        if piece is END:
            raise StopIteration
        if piece is _STOP:
            raise Stopped
        return piece


class _Beside:
    """A thread that makes calls, one after the other; it does not keep the process alive."""

    _idle: Final[list[_Beside]] = []

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="llmcore-storage-object", daemon=True).start()

    @classmethod
    def begin(cls, call: Callable[[], Any], told: queue.SimpleQueue[Any]) -> None:
        """Make *call* in a thread that has nothing to do; put its result and its error into *told*."""
        try:
            beside = cls._idle.pop()
        except IndexError:
            beside = cls()
        beside._calls.put((call, told))

    def _serve(self) -> None:
        while True:
            call, told = self._calls.get()
            result = error = None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - it is raised where it is waited for
                error = raised
            self._idle.append(self)
            told.put((result, error))
            del call, told, result, error  # they may be large


def _result(said: tuple[Any, BaseException | None]) -> Any:
    result, error = said
    if error is None:
        return result
    try:
        raise error
    finally:
        del error, said  # else the error, its traceback and this frame would keep each other alive
