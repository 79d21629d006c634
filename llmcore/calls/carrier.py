"""Carries out the steps of one piece of work where it began, for whoever waits for them."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmcore.calls.steps import Step

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

__all__ = ["Carrier", "LostError", "OutOfTime"]

Left = Callable[[], float | None]


class OutOfTime(BaseException):
    """Whoever waited has no time left; the step goes on."""


class LostError(ConnectionError):
    """The event loop in which the work began does not run any more."""


class Carrier:
    """Work begins in an event loop or outside of any, and what it opened there is bound to that place.

    A step that is under way when its waiter leaves goes on; the next waiter is given its result.
    """

    def __init__(self) -> None:
        self.step: Step | None = None
        """What is to be carried out, or under way."""
        self._begun = False
        self._home: asyncio.AbstractEventLoop | None = None
        """The loop in which the work began; None outside of any."""
        self._thread = 0
        self._running: asyncio.Future[Any] | Future[Any] | None = None
        """The step under way: of the home loop, or of a thread."""

    def carried(self, step: Step, left: Left) -> Step:
        """Return the step that carries out *step* at home, and waits for it no longer than *left* says.

        Its result is that of *step*; it raises `OutOfTime`, or `LostError`, besides.
        """
        self.step = step
        return Step(self._blocking, self._awaiting, step, left)

    def goes_on(self, error: BaseException) -> bool:
        """Return whether the step is still under way although waiting for it ended with *error*."""
        return self._running is not None and not self._running.done() and not isinstance(error, Exception)

    def ended(self) -> Step:
        """Return the step that stops what is under way and waits until it has stopped."""
        return Step(self._stop, self._astop)

    def drop(self) -> None:
        """Stop what is under way, without waiting."""
        running, self._running = self._running, None
        if running is not None and not running.done() and self._home is not None:
            with contextlib.suppress(RuntimeError):  # a closed loop has nothing under way
                self._home.call_soon_threadsafe(running.cancel)

    # -- for a blocking waiter

    def _blocking(self, step: Step, left: Left) -> Any:
        if not self._begun:
            self._begun = True
        if self._home is None:
            if self._running is None:
                return step.blocking(*step.args)
            return self._result(self._running, left)
        if self._thread == threading.get_ident():
            raise self._homeless()  # a loop cannot be waited for from within
        return self._result(self._at_home(step), left)

    def _result(self, running: Any, left: Left) -> Any:
        import concurrent.futures

        lost = False
        try:
            result = running.result(left())
        except concurrent.futures.CancelledError:
            lost = True  # its loop was shut down
        except concurrent.futures.TimeoutError:
            if not running.done():
                raise OutOfTime from None
            raise
        if lost:
            raise self._homeless()
        self._running = None
        return result

    # -- for an asynchronous waiter

    async def _awaiting(self, step: Step, left: Left) -> Any:
        import asyncio

        here = asyncio.get_running_loop()
        if not self._begun:
            self._begun, self._home, self._thread = True, here, threading.get_ident()
        if self._home is here:
            if step.awaiting is None and self._running is None:
                return step.blocking(*step.args)
            waited: Any = self._started(step)
        elif self._home is None:
            if self._running is None:
                self._running = _in_a_thread(step)
            waited = asyncio.wrap_future(self._running)
        else:
            waited = asyncio.wrap_future(self._at_home(step))
        done, _ = await asyncio.wait([waited], timeout=left())
        if not done:
            raise OutOfTime
        if waited.cancelled() and self._home is not here:
            raise self._homeless()
        self._running = None
        return waited.result()

    def _started(self, step: Step) -> Any:
        """Return the step under way in the loop that runs here, which is home."""
        import asyncio

        if self._running is None:
            if step.awaiting is None:
                self._running = asyncio.get_running_loop().create_future()
                self._running.set_result(step.blocking(*step.args))
            else:
                self._running = asyncio.ensure_future(step.awaiting(*step.args))
        return self._running

    def _at_home(self, step: Step) -> Future[Any]:
        import asyncio

        async def at_home() -> Any:
            return await asyncio.shield(self._started(step))

        if self._home is None or not self._home.is_running():
            raise self._homeless()
        return asyncio.run_coroutine_threadsafe(at_home(), self._home)

    def _homeless(self) -> LostError:
        """Return the error for a step that cannot be had any more; what follows is carried out wherever it is asked for."""
        self._begun, self._home, self._running = False, None, None
        return LostError("the event loop in which the request was made does not run any more")

    # -- the end

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is None or running.done():
            return
        if self._home is None:
            with contextlib.suppress(BaseException):
                running.result()
            return
        with contextlib.suppress(RuntimeError):
            self._home.call_soon_threadsafe(running.cancel)

    async def _astop(self) -> None:
        import asyncio

        running, self._running = self._running, None
        if running is None or running.done():
            return
        if self._home is None:
            await asyncio.wait([asyncio.wrap_future(running)])
        elif self._home is asyncio.get_running_loop():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)  # type: ignore[arg-type] # of this loop
        else:
            with contextlib.suppress(RuntimeError):
                self._home.call_soon_threadsafe(running.cancel)


@functools.cache
def _threads() -> Any:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(64, thread_name_prefix="llmcore-step")


def _in_a_thread(step: Step) -> Future[Any]:
    running: Future[Any] = _threads().submit(step.blocking, *step.args)
    return running
