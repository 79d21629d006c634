"""One timer for the deadlines of all waits of a stream. A separate `asyncio.timeout` for each chunk would cost more than the chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from llmcore.calls.steps import Step

if TYPE_CHECKING:
    import asyncio

__all__ = ["DeadlineTimer"]

_LONGEST_S: Final = 3600.0
"""Maximum seconds between two checks of the deadline.

A limit is needed, because an event loop accepts no infinite delay.
"""


class DeadlineTimer:
    """Ends an asynchronous wait with TimeoutError at the deadline of the call.

    The provider applies the idle timeout, because only the provider sees the received bytes.
    """

    __slots__ = ("_expired", "_handle", "_keeps_timeouts", "_left", "_loop", "_task")

    def __init__(self, left: Callable[[], float], *, keeps_timeouts: bool = False) -> None:
        """Prepare; the timer starts with the first wait.

        Args:
            left: Returns the seconds until the deadline, which may change.
            keeps_timeouts: True if blocking steps end by themselves. If False, blocking steps run in threads that can
                be abandoned.
        """
        self._keeps_timeouts = keeps_timeouts
        self._left = left
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        """The waiting task."""
        self._expired = False

    def bound(self, step: Step) -> Step:
        """Return *step* with the deadline: both variants raise TimeoutError when the deadline passes.

        The result may be run repeatedly, but not concurrently. A blocking step cannot be interrupted, so its thread
        is abandoned. A provider that keeps timeouts gets the remaining time as an argument instead.
        """
        wait = step.awaiting
        if wait is None:
            return step
        # set at the first wait, so that not every chunk looks it up, and the sync variant does not import asyncio
        current_task: Any = None

        async def run_bounded(*args: Any) -> Any:
            nonlocal current_task
            if current_task is None:
                import asyncio

                current_task = asyncio.current_task
            task = current_task()
            if task is None:  # no task to cancel
                return await wait(*args)
            if self._handle is None or task.get_loop() is not self._loop:
                self._start(task.get_loop())
            cancelling = task.cancelling()
            self._task = task
            try:
                return await wait(*args)
            except BaseException as error:
                if not self._is_ours(error, task, cancelling):
                    raise
            finally:
                self._task = None
                if self._expired:  # the wait ended by itself at the moment of the cancellation
                    self._expired = False
                    task.uncancel()
            raise TimeoutError

        return Step(
            step.blocking if self._keeps_timeouts else self._bound_blocking(step), run_bounded, *step.args
        )

    def _bound_blocking(self, step: Step) -> Callable[..., Any]:
        def run_in_worker(*args: Any) -> Any:
            from llmcore.calls.worker_threads import call_in_worker

            return call_in_worker(step.blocking, args, self._left())

        return run_in_worker

    def stop(self) -> None:
        """Stop the timer, from any thread."""
        handle, self._handle = self._handle, None
        if handle is None or self._loop is None:
            return
        import asyncio

        with contextlib.suppress(RuntimeError):  # no event loop runs in this thread
            if asyncio.get_running_loop() is self._loop:
                handle.cancel()
                return
        with contextlib.suppress(RuntimeError):  # the timer's loop is closed
            self._loop.call_soon_threadsafe(handle.cancel)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop()
        self._loop = loop
        self._handle = loop.call_later(min(max(self._left(), 0.0), _LONGEST_S), self._check)

    def _check(self) -> None:
        """Cancel the waiting task.

        If the deadline was extended, because another caller has joined, check again later.
        """
        self._handle = None
        if self._left() > 0:
            if self._loop is not None:
                self._start(self._loop)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()

    def _is_ours(self, error: BaseException, task: asyncio.Task[Any], cancelling: int) -> bool:
        """Return whether only this timer, and no other code, cancelled the task."""
        from asyncio import CancelledError

        if not self._expired:
            return False
        self._expired = False
        return task.uncancel() <= cancelling and isinstance(error, CancelledError)
