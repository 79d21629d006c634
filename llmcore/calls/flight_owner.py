"""The owner of a shared call runs it: in a task of an event loop, or in threads.

The first waiting caller determines the kind of owner. An async caller starts a task. A blocking caller runs the call
in its own thread until the next piece arrives. If an async caller then needs the next piece, a thread of llmcore runs
the call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmcore.calls.drivers import arun, iterate
from llmcore.calls.flight import Begin, Caller, Flight, make_timeout
from llmcore.calls.futures import wait_for_all
from llmcore.calls.steps import Expired, Step
from llmcore.threads import submit

if TYPE_CHECKING:
    import asyncio

__all__ = ["Owner", "advance"]

_GRACE_S: Final = 5.0
"""Seconds that a caller in another thread waits for the clean-up of a cancelled call."""
_POLL_S: Final = 1.0
"""A caller outside of the event loop checks at this interval, in seconds, whether the loop still runs."""


class Owner(Protocol):
    """Runs the call of a flight."""

    def handle_piece(self) -> Any:
        """Wake the callers after a new piece. Return the item to yield to the driver, or None to continue the call at once."""

    def translate(self, error: BaseException) -> BaseException:
        """Return the exception to throw into the call in place of *error*, which came from the driver."""

    def wait(self, caller: Caller) -> bool:
        """Block until *caller* can continue. Return False if the caller's own thread already runs the call."""

    async def await_(self, caller: Caller) -> bool:
        """Wait until *caller* can continue."""

    def cancel(self) -> None:
        """End the call after its last caller has left, without waiting for the clean-up."""

    def end(self) -> None:
        """End the call and wait for the clean-up."""

    async def aend(self) -> None:
        """See `end`."""


def advance(flight: Flight, begin: Begin, caller: Caller) -> Step:
    """Return a step that waits until *caller* can continue.

    If the call has no owner yet, the step starts the call first.

    For a blocking caller, the step returns False if the caller's own thread runs the call, because the wait would never
    end.
    """
    owner = flight.owner
    if owner is None:
        return Step(_advance, _aadvance, flight, begin, caller)
    if caller.step is None:
        caller.step = Step(owner.wait, owner.await_, caller)
    return caller.step


def _advance(flight: Flight, begin: Begin, caller: Caller) -> bool:
    return _get_owner(flight, begin, caller, _ThreadOwner).wait(caller)


async def _aadvance(flight: Flight, begin: Begin, caller: Caller) -> bool:
    return await _get_owner(flight, begin, caller, _TaskOwner).await_(caller)


def _get_owner(flight: Flight, begin: Begin, caller: Caller, kind: Callable[[Flight, Any], Owner]) -> Owner:
    with flight.lock:
        if flight.owner is None:
            flight.beginner = caller
            flight.owner = kind(flight, begin())
        return flight.owner


class _ThreadOwner:
    """An owner that runs the call in the thread of the caller that needs the next piece.

    If this caller is async, a thread of llmcore runs the call until the next piece.
    """

    def __init__(self, flight: Flight, work: Any) -> None:
        self._flight = flight
        self._pieces = iterate(flight.publish(work, self))
        self._driver: int | None = None
        """The id of the thread that runs the call; 0 while a thread is starting, None if there is no thread."""

    def handle_piece(self) -> Any:
        """See `Owner.handle_piece`."""
        return "a piece"  # not a step, so `iterate` returns control to `_drive`, which wakes the callers

    def translate(self, error: BaseException) -> BaseException:
        """See `Owner.translate`."""
        return error

    def wait(self, caller: Caller) -> bool:
        """See `Owner.wait`."""
        if self._driver == threading.get_ident():
            return False
        if self._take():
            self._drive()
        elif not caller.sleep(lambda: self._is_ready(caller), caller.left()):
            raise make_timeout()
        return True

    async def await_(self, caller: Caller) -> bool:
        """See `Owner.await_`."""
        if self._take():
            submit(self._drive)
        await caller.asleep(lambda: self._is_ready(caller))
        if caller.is_late and not self._flight.has_news(caller):
            raise make_timeout()
        return True

    def cancel(self) -> None:
        """See `Owner.cancel`.

        The garbage collector may call this method in a thread that holds a lock, so another thread ends the call.
        """
        submit(self.end)

    def end(self) -> None:
        """See `Owner.end`. If another thread runs the call, that thread ends the call."""
        if self._take():
            self._close()

    async def aend(self) -> None:
        """See `Owner.aend`."""
        import asyncio

        await wait_for_all([asyncio.wrap_future(submit(self.end))])

    def _is_ready(self, caller: Caller) -> bool:
        return self._driver is None or self._flight.has_news(caller)

    def _take(self) -> bool:
        with self._flight.lock:
            if self._driver is not None or self._flight.is_over:
                return False
            self._driver = 0
            return True

    def _drive(self) -> None:
        """Run the call until its next piece or its end."""
        self._driver = threading.get_ident()
        try:
            next(self._pieces, None)
        finally:
            with self._flight.lock:
                is_abandoned = not self._flight.callers and not self._flight.is_over
                if not is_abandoned:
                    self._driver = None
            if is_abandoned:
                self._close()
            self._flight.wake_callers()

    def _close(self) -> None:
        self._driver = threading.get_ident()
        self._pieces.close()
        self._flight.break_off()  # close() of a generator that has not started skips its `finally` blocks


class _TaskOwner:
    """An owner that runs the call in a separate task of the first caller's event loop."""

    def __init__(self, flight: Flight, work: Any) -> None:
        import asyncio

        self._flight = flight
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._wanted = 1
        """The number of pieces that callers have requested."""
        self._demand: asyncio.Future[None] | None = None
        self._is_expired = False
        self._pause = Step(_fail_blocking, self._wait_for_demand)
        # Do not use the loop's task factory: an eager factory would start the call while this thread holds
        # the flights' lock.
        self._task = asyncio.Task(self._publish(work), loop=self._loop, name="llmcore single-flight")
        self._task.add_done_callback(self._finish)

    def handle_piece(self) -> Step | None:
        """See `Owner.handle_piece`.

        If too many pieces wait for callers, the task pauses until the callers have taken some.
        """
        self._flight.wake_callers()
        return self._pause if len(self._flight.pieces) >= self._wanted + self._flight.ahead else None

    def translate(self, error: BaseException) -> BaseException:
        """See `Owner.translate`.

        If the last caller's deadline passed, the call gets `Expired` in place of the cancellation, and can raise a more
        specific error.
        """
        import asyncio

        if not self._is_expired or not isinstance(error, asyncio.CancelledError):
            return error
        self._is_expired = False
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return Expired()

    def wait(self, caller: Caller) -> bool:
        """See `Owner.wait`."""
        if self._thread == threading.get_ident() and self._loop.is_running():
            return False
        self._call(self._demand_pieces, caller.seen + 1)
        while not self._flight.has_news(caller):
            left = caller.left()
            seconds = _POLL_S if left is None else min(left, _POLL_S)
            if caller.sleep(lambda: self._flight.has_news(caller), seconds):
                continue
            if seconds == left:
                self._expire(caller)
            self._check_loop()
        return True

    async def await_(self, caller: Caller) -> bool:
        """See `Owner.await_`."""
        import asyncio

        if asyncio.get_running_loop() is self._loop:
            self._demand_pieces(caller.seen + 1)
            await caller.asleep(lambda: self._flight.has_news(caller))
        else:
            self._call(self._demand_pieces, caller.seen + 1)
            try:
                async with asyncio.timeout(_POLL_S):
                    await caller.asleep(lambda: self._flight.has_news(caller))
            except TimeoutError:
                self._check_loop()
        if caller.is_late and not self._flight.has_news(caller):
            self._expire(caller)
        return True

    def cancel(self) -> None:
        """See `Owner.cancel`."""
        self._call(self._task.cancel)

    def end(self) -> None:
        """See `Owner.end`."""
        ended = threading.Event()
        self._call(self._task.add_done_callback, lambda _: ended.set())
        self.cancel()
        if self._thread != threading.get_ident() and self._loop.is_running():
            ended.wait(_GRACE_S)

    async def aend(self) -> None:
        """See `Owner.aend`."""
        import asyncio

        if asyncio.get_running_loop() is self._loop:
            self._task.cancel()
            await wait_for_all([self._task])
        else:
            await wait_for_all([asyncio.wrap_future(submit(self.end))])

    async def _publish(self, work: Any) -> None:
        await arun(self._flight.publish(work, self))

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._flight.break_off()  # has no effect if the call has ended
        if not task.cancelled():
            # Retrieve the exception: otherwise asyncio logs it, although the callers raise it.
            task.exception()

    async def _wait_for_demand(self) -> None:
        self._demand = self._loop.create_future()
        await self._demand

    def _demand_pieces(self, pieces: int) -> None:
        self._wanted = max(self._wanted, pieces)
        if self._demand is not None and not self._demand.done():
            self._demand.set_result(None)

    def _expire(self, caller: Caller) -> None:
        """Raise `Timeout` to *caller*, because its deadline has passed.

        If *caller* is the only caller left, cancel the call and return instead: *caller* then waits for the error
        that the call raises, which may be more specific.
        """
        if not self._flight.close_if_alone(caller):
            raise make_timeout()
        caller.left, caller.is_late = _get_no_limit, False
        self._is_expired = True
        self._call(self._task.cancel)

    def _check_loop(self) -> None:
        if not self._loop.is_running():
            self._flight.break_off()

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        """Call *function* in the loop."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed
            self._flight.break_off()


def _fail_blocking() -> None:
    raise AssertionError("a task is never driven by a blocking driver")


def _get_no_limit() -> None:
    """Return None, which means no time limit: the last caller waits until the call has ended."""
