"""A flight of single-flight: one shared call with its callers, its pieces so far, and its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from llmcore.calls.bridges import END
from llmcore.calls.failures import copy_error
from llmcore.calls.steps import Expired, Step
from llmcore.errors import IncompleteReply, Timeout

if TYPE_CHECKING:
    import asyncio

    from llmcore.calls.flight_owner import Owner

__all__ = ["Begin", "Caller", "Flight", "Left", "make_timeout"]

Begin = Callable[[], Generator[Any, Any, Any]]
Left = Callable[[], float | None]

_RETRIES: Final = 1
"""The number of retries that the waiting callers make together after a failure.

If the last retry fails, all these callers receive its error.
"""


class Caller:
    """One caller that waits for a flight."""

    __slots__ = ("_timer", "emits", "flight", "is_late", "left", "seen", "step", "wake")

    def __init__(self, left: Left, *, emits: bool) -> None:
        self.left = left
        self.emits = emits
        """True if the caller passes the pieces on as they arrive."""
        self.step: Step | None = None
        """The step that waits for the next piece or the end of the flight."""
        self.flight: Flight
        """The flight that the caller waits for.

        If the flight fails and is retried, this becomes the flight of the retry.
        """
        self.seen = 0
        """The number of pieces that the caller has taken."""
        self.wake: Callable[[], None] | None = None
        """The function that wakes the caller; None while the caller is not waiting."""
        self.is_late = False
        """True if the caller's deadline passed while the caller waited in an event loop."""
        self._timer: asyncio.TimerHandle | None = None

    def sleep(self, is_ready: Callable[[], bool], seconds: float | None) -> bool:
        """Wait in this thread until the flight wakes the caller; return False after *seconds*."""
        woken = threading.Event()
        # set before the check: otherwise a piece that arrives in between would be missed
        self.wake = woken.set
        return is_ready() or woken.wait(seconds)

    async def asleep(self, is_ready: Callable[[], bool]) -> None:
        """Wait until the flight wakes the caller, or the caller's time runs out."""
        import asyncio

        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self.wake = lambda: _set_in(loop, woken)
        if is_ready():
            return
        left = self.left() if self._timer is None else None
        if left is not None and left != float("inf"):
            self._timer = loop.call_later(max(left, 0.0), self._end_sleep)
        await woken

    def stop_timer(self) -> None:
        """Cancel the timer. A pending timer keeps the caller alive."""
        if self._timer is not None:
            self._timer.cancel()

    def _end_sleep(self) -> None:
        self._timer, self.is_late = None, True
        if self.wake is not None:
            self.wake()


class Flight:
    """One shared call. All flights share one lock, held only for field access."""

    def __init__(
        self, key: str, flights: dict[str, Flight], lock: threading.RLock, ahead: int, failures: int = 0
    ) -> None:
        self.key = key
        self.ahead = ahead
        self.lock = lock
        self.callers: list[Caller] = []
        self.beginner: Caller | None = None
        """The caller whose function makes the call."""
        self.owner: Owner | None = None
        self.pieces: list[Any] = []
        self.is_over = False
        self._failures = failures
        """The number of failed earlier flights of the same callers."""
        self._flights = flights
        self._value: Any = None
        self._error: BaseException | None = None

    def publish(self, work: Generator[Any, Any, Any], owner: Owner) -> Generator[Any, Any, None]:
        """Run *work*: yield its steps to the owner's driver, and store pieces and result."""
        value: Any = None
        failure: BaseException | None = None
        try:
            while True:
                item = work.send(value) if failure is None else work.throw(failure)
                value = failure = None
                if type(item) is not Step:
                    self.pieces.append(item)
                    item = owner.handle_piece()
                    if item is None:
                        continue
                try:
                    value = yield item
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as raised:  # noqa: BLE001 - the exception is thrown into the call
                    failure = owner.translate(raised)
        except StopIteration as stop:
            self._end(stop.value)
        except Exception as error:  # noqa: BLE001 - the callers raise the error
            self._fail(error)
        except BaseException as error:
            # SystemExit or KeyboardInterrupt ends only the caller that began the call
            self._end(None, error, retry=True, but=self.beginner)
            raise
        finally:
            # Break the reference cycle between the error's traceback and this frame.
            failure = None

    def has_news(self, caller: Caller) -> bool:
        """Return whether there is a piece or a result for *caller*."""
        return self.is_over or len(self.pieces) > caller.seen

    def wake_callers(self) -> None:
        """Wake all waiting callers."""
        with self.lock:
            callers = list(self.callers)
        _wake(callers)

    def take_piece(self, caller: Caller) -> Any:
        """Return the next piece for *caller*; END if no new piece has arrived.

        After a failure, a caller that passes pieces on and has taken one does not join the retry. Taking a piece
        needs the lock, because a caller must not take a piece and join the retry at the same time.
        """
        with self.lock:
            if caller.flight is not self or caller.seen >= len(self.pieces):
                return END
            caller.seen += 1
            return self.pieces[caller.seen - 1]

    def take_result(self, caller: Caller) -> Any:
        """Return the result or raise the error.

        Each caller raises a separate copy of the error, because raising adds a traceback.
        """
        if self._error is None:
            return self._value
        if isinstance(self._error, Expired):  # the call raised no more specific error at its deadline
            raise make_timeout()
        if caller is self.beginner:
            raise self._error
        raise copy_error(self._error) if isinstance(self._error, Exception) else _make_broken_error()

    def add(self, caller: Caller) -> None:
        """Add *caller*. The caller receives all pieces, including the earlier ones."""
        caller.flight, caller.seen, caller.step = self, 0, None
        self.callers.append(caller)

    def close(self) -> None:
        """Stop further callers from joining."""
        if self._flights.get(self.key) is self:
            del self._flights[self.key]

    def close_if_alone(self, caller: Caller) -> bool:
        """Return whether *caller* is the only caller. If so, no other caller can join from now on."""
        with self.lock:
            if self.callers != [caller]:
                return False
            self.close()
            return True

    def break_off(self) -> None:
        """End the call without a result, because its event loop or thread has ended."""
        if not self.is_over:
            self._end(None, _make_broken_error(), retry=True)

    def _fail(self, error: Exception) -> None:
        # Do not retry after a complete answer: the server may bill it, and would bill a second answer too.
        self._failures += 1 + _RETRIES * getattr(error, "answered", False)
        self._end(None, error, retry=self._failures <= _RETRIES, but=self.beginner)

    def _end(
        self,
        value: Any,
        error: BaseException | None = None,
        *,
        retry: bool = False,
        but: Caller | None = None,
    ) -> None:
        """End the call.

        With *retry*, start a new flight for all callers that have not passed on a piece, except for *but*.
        """
        with self.lock:
            if self.is_over:
                return
            self._value, self._error = value, error
            self.close()
            callers = list(self.callers)
            movers = [each for each in callers if each is not but and not (each.emits and each.seen)]
            if retry and movers:
                again = Flight(self.key, self._flights, self.lock, self.ahead, self._failures)
                self._flights[self.key] = again
                self.callers = [each for each in callers if each not in movers]
                for caller in movers:
                    again.add(caller)
            self.is_over = True
        _wake(callers)


def make_timeout() -> Timeout:
    """Return the error for a caller whose deadline passed."""
    return Timeout(
        "the deadline passed while this call shared the request of an identical call",
        expected="an answer before the deadline (timeout=, or deadline in [retry])",
        fix="chat(..., timeout=seconds)",
    )


def _make_broken_error() -> IncompleteReply:
    return IncompleteReply("the shared call ended early: its event loop or thread ended")


def _wake(callers: list[Caller]) -> None:
    for caller in callers:
        wake, caller.wake = caller.wake, None
        if wake is not None:
            wake()


def _set_in(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    import asyncio

    if asyncio._get_running_loop() is loop:  # noqa: SLF001 - documented; the public function raises outside of a loop
        _set(future)
        return
    try:
        loop.call_soon_threadsafe(_set, future)
    except RuntimeError:  # the loop is closed, so the caller that waited in this loop has ended
        return


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
