"""A background event loop, for blocking calls of async backends.

If the system cannot start a thread for the loop, callers run the loop in their own threads, one after the other.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - the first call of an async backend imports this module
import sys
import threading
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from llmcore import forks
from llmcore.errors import LLMCoreError
from llmcore.threads import NO_THREAD, start_thread

__all__ = ["run_in_loop"]

T = TypeVar("T")

_lock = forks.lock()
_driving = threading.Lock()
"""The lock of a caller that runs the loop in its own thread.

This is not a lock of `forks`, because a fork would wait for the whole call.
"""
_loop: asyncio.AbstractEventLoop | None = None
_has_thread = False


def run_in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* in the background loop and wait for its result.

    If this thread already runs another loop, that loop is blocked during the wait.

    Raises:
        LLMCoreError: This thread already runs a loop, and the system cannot start another thread; or Python is
            exiting.
    """
    if sys.is_finalizing():  # the loop's thread has stopped
        raise _make_thread_error(coroutine)
    loop = _find_running_loop()
    if loop is None:
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented; the public function raises outside of a loop
            raise _make_thread_error(coroutine)
        with _driving:
            if not _has_thread:
                return _drive(_get_loop(), coroutine)
        loop = _get_loop()  # another caller has started the loop's thread meanwhile
    future = asyncio.run_coroutine_threadsafe(_catch_exit(coroutine), loop)
    try:
        result = future.result()
    except BaseException:
        future.cancel()  # Ctrl-C must end the call too, not only the wait
        raise
    if type(result) is _Exit:
        raise result.error
    return result  # type: ignore[return-value]  # an `_Exit` was raised above, so this is a T


class _Exit(NamedTuple):
    """Carries an exception of a backend that would end the loop's thread if it were raised in the loop."""

    error: SystemExit | KeyboardInterrupt


async def _catch_exit(coroutine: Coroutine[Any, Any, T]) -> T | _Exit:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        return _Exit(error)


def _find_running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop if its thread is running or can be started; otherwise None."""
    global _has_thread
    with _lock:
        if not _has_thread and _driving.acquire(blocking=False):  # otherwise a caller runs the loop
            try:
                thread = threading.Thread(target=_get_loop().run_forever, name="llmcore-loop", daemon=True)
                _has_thread = start_thread(thread)
            finally:
                _driving.release()
        return _loop if _has_thread else None


def _get_loop() -> asyncio.AbstractEventLoop:
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
    return _loop


def _make_thread_error(coroutine: Coroutine[Any, Any, Any]) -> LLMCoreError:
    coroutine.close()  # prevents Python's warning about a coroutine that was never awaited
    return LLMCoreError(
        f"a blocking call of an asynchronous backend needs a thread: {NO_THREAD}",
        expected="the asynchronous method, inside an event loop",
    )


def _drive(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* and the loop in this thread, because the loop has no thread."""
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        task.cancel()
        raise


def _after_fork() -> None:
    global _loop, _driving, _has_thread
    forks.leave_to_parent(_loop)  # the loop's thread runs only in the parent
    _loop, _driving, _has_thread = None, threading.Lock(), False


forks.call_in_child(_after_fork)
