"""Start threads, and handle the case that no thread can be started.

That happens when the process has reached its limit of threads, and while Python exits. `threading.Thread.start` then
raises RuntimeError, or starts a thread that never runs. An executor raises the same error, but only after it has queued
the work. All threads of llmcore are started here. Each caller says what to do if no thread can be started.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from llmcore import forks

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from types import FrameType

    from llmcore.forks import Lock

__all__ = [
    "NO_THREAD",
    "OWN_THREADS",
    "TIME_LEFT",
    "Overdue",
    "acquire_within",
    "arun_bounded",
    "needs_event_loop",
    "run_bounded",
    "run_in_thread",
    "start_thread",
    "submit",
    "submit_to",
    "wait_for",
]

NO_THREAD: Final = "no further thread can be started"
"""A clause for error messages."""
OWN_THREADS: Final = "llmcore-"
"""The prefix of the names of llmcore's own threads."""

_SHORTEST_S: Final = 0.001
"""The minimum seconds to wait for a lock. It replaces smaller numbers, because `acquire` takes -1 as "wait without a limit"."""
_IMPORTLIB: Final = "<frozen importlib._bootstrap>"

T = TypeVar("T")

TIME_LEFT: Final[ContextVar[Callable[[], float] | None]] = ContextVar("llmcore-time-left", default=None)
"""A function that returns how many seconds the import of a plugin may take: the time until the call's deadline.

None means that there is no limit.
"""


class Overdue(TimeoutError):
    """The work did not return in time. The thread of the work was abandoned."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self.thread = thread


def start_thread(thread: threading.Thread) -> bool:
    """Start *thread*; return False if no further thread can be started, or Python is exiting."""
    if sys.is_finalizing():
        return False
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def run_bounded(work: Callable[[], T], seconds: float) -> T:
    """Call *work*, which runs code of a plugin, and wait at most *seconds* for its result.

    *work* runs in a daemon thread. It runs in this thread, without a limit, if *seconds* is 0 or less, if no thread can
    be started, or if this thread is importing a module, whose lock *work* may need. If *work* fails in the daemon
    thread because it needs the main thread or an event loop, it runs again in this thread.

    Raises:
        Overdue: *work* did not return in time.
    """
    if seconds <= 0 or _is_importing():
        return work()
    done, context = threading.Event(), copy_context()
    values: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            values.append(context.run(work))
        except BaseException as error:  # noqa: BLE001 - the error is raised where the result is awaited
            errors.append(error)
        done.set()

    thread = threading.Thread(target=call, name="llmcore-load", daemon=True)
    if not start_thread(thread):
        return work()
    if not done.wait(min(seconds, threading.TIMEOUT_MAX)):
        raise Overdue(thread)
    if not errors:
        return values[0]
    if _needs_main_thread(errors[0]) or (needs_event_loop(errors[0]) and _has_running_loop()):
        return work()
    try:
        raise errors[0]
    finally:
        errors.clear()  # break the cycle: the error, its traceback and this frame would keep each other alive


async def arun_bounded(work: Callable[[], T], seconds: float) -> T:
    """Do what `run_bounded` does without blocking the event loop.

    If *work* fails because it needs the event loop, that error is raised.
    """
    import asyncio

    queued = _Work(functools.partial(copy_context().run, work))
    thread = threading.Thread(target=queued, name="llmcore-load", daemon=True)
    if seconds <= 0 or not start_thread(thread):
        return work()
    ended = asyncio.wrap_future(queued.done)
    # Read the error of `ended`: asyncio logs an error that is never read. The caller reads the error from
    # `queued`.
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())
    done, _ = await asyncio.wait({ended}, timeout=seconds)
    if not done:
        raise Overdue(thread)
    error = queued.done.exception()
    if error is not None and _needs_main_thread(error):
        return work()
    return queued.done.result()


def needs_event_loop(error: BaseException) -> bool:
    """Return whether code failed because no event loop runs in its thread."""
    return isinstance(error, RuntimeError) and "event loop" in str(error)


def _needs_main_thread(error: BaseException) -> bool:
    """Return whether code failed because it sets a handler of signals outside of the main thread."""
    return isinstance(error, ValueError) and "main thread" in str(error)


def acquire_within(lock: Lock, left: Callable[[], float] | None) -> bool:
    """Acquire *lock* within *left()* seconds, and return whether that succeeded.

    If *left* is None, wait without a limit. If *left()* is 0 or less, succeed only if the lock is free now.
    """
    if left is None:
        return lock.acquire()
    return lock.acquire(timeout=min(max(left(), _SHORTEST_S), threading.TIMEOUT_MAX))


def wait_for(done: Future[Any], seconds: float) -> None:
    """Wait until *done* has a result, at most *seconds*."""
    from concurrent.futures import wait

    wait((done,), min(seconds, threading.TIMEOUT_MAX))


def _has_running_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - `get_running_loop` would raise


def _is_importing() -> bool:
    """Return whether this thread is importing a module: one of its callers is the import machinery."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - `inspect` is slow to import
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTLIB:
            return True
        frame = frame.f_back
    return False


async def run_in_thread(
    function: Callable[..., T], *args: Any, otherwise: Callable[[], T] | None = None
) -> T:
    """Call *function* in a thread of the running loop and return its result.

    This is `asyncio.to_thread` with an alternative. If no thread can be started, *function* is called in the
    loop's own thread and blocks the loop: a late result is better than an error. If *function* waits for the
    running loop, pass *otherwise*, which is then called in place of *function*.
    """
    import asyncio
    import contextvars

    loop: Any = asyncio.get_running_loop()
    call = functools.partial(contextvars.copy_context().run, function, *args)
    executor = _default_executor(loop)
    done = submit_to(functools.partial(loop.run_in_executor, None), call, otherwise or call)
    if executor is None and done.done() and not getattr(_default_executor(loop), "_threads", True):
        loop._default_executor = None  # noqa: SLF001 - otherwise `asyncio.run` needs a thread to shut it down, and fails
    return await asyncio.wrap_future(done)


def _default_executor(loop: Any) -> Any:
    return getattr(loop, "_default_executor", None)


def submit(function: Callable[..., T], *args: Any, otherwise: Callable[[], T] | None = None) -> Future[T]:
    """Call *function* in a thread of llmcore and return its future.

    If no thread can be started, call *otherwise* now, or *function* itself if *otherwise* is None. Pass
    *otherwise* if *function* may wait a long time: the caller would wait too.
    """
    call = functools.partial(function, *args)
    return submit_to(_make_executor().submit, call, otherwise or call)


def submit_to(
    submit: Callable[[Callable[[], object]], object], call: Callable[[], T], otherwise: Callable[[], T]
) -> Future[T]:
    """Submit *call* with the executor's function *submit* and return the future; see `submit`.

    If *submit* raises RuntimeError, *otherwise* is called now, unless a thread has begun *call*.
    """
    queued = _Work(call)
    try:
        submit(queued)
    except RuntimeError:
        failed = True
    else:
        failed = False
    # The executor queued the work before it raised the error. If an idle thread has already started the work,
    # `cancel` returns False.
    if failed and queued.done.cancel():
        inline = _Work(otherwise)
        # called outside of the handler: otherwise errors of the function would be chained to the executor's
        # error
        inline()
        return inline.done
    return queued.done


@functools.cache
def _make_executor() -> Executor:
    """Return the executor for work outside of an event loop."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(64, thread_name_prefix="llmcore-step")


forks.call_in_child(_make_executor.cache_clear)  # the executor's threads belong to the parent


class _Work(Generic[T]):
    """Work that runs once, or not at all if its future is cancelled before it starts."""

    __slots__ = ("_call", "done")

    def __init__(self, call: Callable[[], T]) -> None:
        from concurrent.futures import Future

        self._call = call
        self.done: Future[T] = Future()

    def __call__(self) -> None:
        if not self.done.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - the error is raised where the result is awaited
            self.done.set_exception(error)
            del self  # break the cycle: the error, the traceback and this frame would keep each other alive
        else:
            self.done.set_result(result)
