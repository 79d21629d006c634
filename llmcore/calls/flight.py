"""Single flight: identical calls under way become one, whose pieces and result all of them share.

The work is a call like any other, a generator. Whoever is aboard and finds nobody driving drives it on; the others wait
for pieces. So a caller that is cancelled or leaves takes nothing from the rest: the step that it was waiting for goes on
where it began, in its event loop or in a thread, and the next one takes over.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Generator
from typing import Any, Final

from llmcore.calls.carrier import Carrier, OutOfTime
from llmcore.calls.drivers import Abandoned
from llmcore.calls.steps import Step
from llmcore.errors import IncompleteReply, Timeout

__all__ = ["Flights", "Landed"]

Work = Callable[[], Generator[Any, Any, Any]]
Left = Callable[[], float | None]

RETRIES: Final = 1
"""How often followers try again what their leader failed at, before all are given the error."""


class Landed:
    """What a flight came to, for one of those aboard."""

    __slots__ = ("led", "pieces", "value")

    def __init__(self, value: Any, *, led: bool, pieces: int) -> None:
        self.value = value
        self.led = led
        """Whether this caller drove the work on."""
        self.pieces = pieces
        """How many pieces the work gave."""


class _Caller:
    """One of those aboard."""

    __slots__ = ("left",)

    def __init__(self, left: Left) -> None:
        self.left = left
        """Tells how long the caller can still wait."""


class Flights:
    """The calls under way in this process, by key. Threads, tasks and event loops share them."""

    def __init__(self) -> None:
        self._forget()
        _all.add(self)

    def together(
        self, key: str, work: Work, *, emit: Callable[[], object] | None = None, left: Left = lambda: None
    ) -> Generator[Any, Any, Landed]:
        """Carry out *work* once for all who ask for *key* at the same time.

        A flight that broke off or failed is tried again by those to whom it had given nothing; what failed twice is
        everybody's.

        Args:
            key: Equal for calls with equal results.
            work: Begins the call.
            emit: Called before each piece that is emitted, from the first one on; None emits none.
            left: Seconds that the caller can still wait; None for ever.

        Raises:
            Timeout: The caller's time is over, not the flight's.
        """
        failures = 0
        while True:
            caller = _Caller(left)
            flight = self._boarded(key, caller, failures)
            landed = yield from self._ride(flight, work, emit, caller)
            if landed is not None:
                return landed
            failures = flight.failures

    def left(self, key: str) -> float:
        """Return the seconds that the most patient of those aboard can still wait."""
        with self._lock:
            flight = self._flights.get(key)
            lefts = [] if flight is None else [caller.left() for caller in flight.aboard]
        return max((float("inf") if left is None else left for left in lefts), default=0.0)

    def _ride(
        self, flight: Flight, work: Work, emit: Callable[[], object] | None, caller: _Caller
    ) -> Generator[Any, Any, Landed | None]:
        """Stay aboard to the end, or leave; return None to try again with another flight."""
        try:
            return (yield from self._rode(flight, work, emit, caller))
        except GeneratorExit:  # which allows no further step
            if self._gone(flight, caller):
                flight.drop()
            raise
        except BaseException:
            if self._gone(flight, caller):
                yield from flight.abandoned()
            raise
        finally:
            self._gone(flight, caller)

    def _rode(
        self, flight: Flight, work: Work, emit: Callable[[], object] | None, caller: _Caller
    ) -> Generator[Any, Any, Landed | None]:
        seen, led = 0, False
        while True:
            while seen < len(flight.pieces):
                piece = flight.pieces[seen]
                seen += 1
                if emit is not None:
                    emit()
                    yield piece
            if flight.over:
                if flight.may_be_tried_again() and not (emit and seen):
                    return None
                return Landed(flight.outcome(), led=led, pieces=seen)
            if flight.take():
                led = True
                yield from flight.drive(work, caller)
            elif not (yield flight.waiting(seen, caller.left())):
                return Landed((yield from work()), led=True, pieces=seen)  # it would wait for itself

    def _boarded(self, key: str, caller: _Caller, failures: int) -> Flight:
        with self._lock:
            while True:
                flight = self._flights.get(key)
                if flight is None or flight.over:
                    flight = self._flights[key] = Flight(key, failures)
                flight.aboard.append(caller)
                if not flight.over:  # by the garbage collector, which took the last one off board just now
                    return flight

    def _gone(self, flight: Flight, caller: _Caller) -> bool:
        """Take one off board; return whether the work is now nobody's and has to be ended."""
        with self._lock:
            if caller not in flight.aboard:
                return False
            flight.aboard.remove(caller)
            if flight.aboard and not flight.over:
                return False
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            return not flight.over

    def _forget(self) -> None:
        # The garbage collector may take a caller off board in a thread that is at work here already.
        self._lock = threading.RLock()
        self._flights: dict[str, Flight] = {}


class Flight:
    """One piece of work, what it has given so far, and who waits for more."""

    def __init__(self, key: str, failures: int) -> None:
        self.key = key
        self.aboard: list[_Caller] = []
        self.pieces: list[Any] = []
        self.over = False
        self.failures = failures
        """How often the work failed, earlier flights of the same callers included."""
        self._value: Any = None
        self._error: Exception | None = None
        self._broken = False
        self._overtime = False
        """Whether the time of all who were aboard is over, and the work about to end."""
        self._work: Generator[Any, Any, Any] | None = None
        self._beginner: _Caller | None = None
        self._carrier = Carrier()
        self._lock = threading.RLock()  # as of Flights
        self._driver: int | None = None
        """The thread that drives; None where nobody does."""
        self._wakers: list[Callable[[], None]] = []

    def outcome(self) -> Any:
        """Return the result, or raise a copy of the error, since every caller adds its own traceback."""
        if self._error is None:
            return self._value
        raise _copied(self._error)

    def may_be_tried_again(self) -> bool:
        """Return whether it ended without a result, and not for the last time."""
        return self._error is not None and (self._broken or self.failures <= RETRIES)

    # -- driving

    def take(self) -> bool:
        """Become the driver, where there is none."""
        with self._lock:
            if self._driver is not None or self.over:
                return False
            self._driver = threading.get_ident()
            return True

    def drive(self, begin: Work, caller: _Caller) -> Generator[Step, Any, None]:
        """Drive the work on to its next piece, or to its end; the driver waits no longer than it may.

        What another's work failed at is not raised to its driver, as long as it may be tried again.
        """
        carrier = self._carrier
        try:
            if self._work is None:
                self._work, self._beginner = begin(), caller
            work = self._work
            item = carrier.step or work.send(None)
            while type(item) is Step:
                value, failure = yield from self._carried(item, caller.left)
                item = work.send(value) if failure is None else work.throw(failure)
            self.pieces.append(item)
        except StopIteration as stop:
            self._value, self.over = stop.value, True
        except Exception as error:
            if carrier.step is None:  # the work failed, not its driver alone
                self.failures += 1
                self._ended(error, for_good=self.failures > RETRIES)
                if caller is not self._beginner and self.failures <= RETRIES:
                    return
            raise
        except BaseException:
            if carrier.step is None:  # the work was ended with its driver
                self._broken = True
                self._ended(IncompleteReply("the call that was shared broke off"), for_good=False)
            raise
        finally:
            self._give_back()

    def _carried(self, step: Step, left: Left) -> Generator[Step, Any, tuple[Any, BaseException | None]]:
        """Carry out *step*; return its result and what it raised. Raises where it goes on without this driver."""
        failure: BaseException | None = None
        value: Any = None
        late = False
        try:
            value = yield self._carrier.carried(step, _for_ever if self._overtime else left)
        except OutOfTime:
            late = True
        except BaseException as error:
            if self._carrier.goes_on(error):
                if len(self.aboard) > 1:
                    raise
                self._carrier.drop()
            failure = error
        if late:
            if len(self.aboard) > 1:
                raise _late()
            # Nobody else waits: the work ends by its own words, with what it had, and has the time to clean up.
            yield self._carrier.ended()
            self._overtime, failure = True, TimeoutError()
        self._carrier.step = None
        return value, failure

    def abandoned(self) -> Generator[Step, Any, None]:
        """End the work that nobody waits for any more, letting it clean up."""
        work, self._work, self.over = self._work, None, True
        failure: BaseException | None = Abandoned()
        value: Any = None
        try:
            yield self._carrier.ended()
            while work is not None:
                item = work.send(value) if failure is None else work.throw(failure)
                value = failure = None
                if type(item) is Step:
                    try:
                        value = yield self._carrier.carried(item, _for_ever)
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - the work decides
                        failure = error
        except GeneratorExit:
            raise
        except BaseException:  # noqa: BLE001 - however it ended: the caller has its own reason to leave
            return

    def drop(self) -> None:
        """End the work without a step more: its caller is being collected."""
        work, self._work, self.over = self._work, None, True
        self._carrier.drop()
        if work is not None:
            with contextlib.suppress(RuntimeError):  # it wanted to do more than is allowed now
                work.close()

    def _ended(self, error: Exception, *, for_good: bool) -> None:
        """Note that the work ended without a result. Where it gave nothing yet, the next driver begins it anew."""
        self._work, self._carrier = None, Carrier()
        if for_good or self.pieces or len(self.aboard) == 1:
            self._error, self.over = error, True

    def _give_back(self) -> None:
        with self._lock:
            self._driver = None
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    # -- waiting

    def waiting(self, seen: int, seconds: float | None) -> Step:
        """Return the step that waits until there is more than *seen*, or nobody drives.

        Its result is False where a blocking caller would wait for its own thread.
        """
        return Step(self._wait, self._await, seen, seconds)

    def _wait(self, seen: int, seconds: float | None) -> bool:
        if self._driver == threading.get_ident():
            return False
        woken = threading.Event()
        if self._asleep(seen, woken.set) and not woken.wait(seconds):
            raise _late()
        return True

    async def _await(self, seen: int, seconds: float | None) -> bool:
        import asyncio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        late = False
        if self._asleep(seen, lambda: _call_in(loop, woken.set)):
            try:
                async with asyncio.timeout(seconds):
                    await woken.wait()
            except TimeoutError:
                late = True
        if late:
            raise _late()
        return True

    def _asleep(self, seen: int, wake: Callable[[], None]) -> bool:
        """Ask to be woken; return False where there is nothing to wait for."""
        with self._lock:
            self._wakers.append(wake)  # before looking: the garbage collector may end the driving in between
            return len(self.pieces) <= seen and not self.over and self._driver is not None


def _for_ever() -> None:
    """Say that there is no end to the waiting."""


def _late() -> Timeout:
    return Timeout(
        "the deadline of the call passed while it shared an identical one",
        expected="an answer within the deadline of [retry], or timeout=",
        fix="chat(..., timeout=seconds)",
    )


def _copied(error: Exception) -> Exception:
    copy: Exception = type(error).__new__(type(error), *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    return copy


def _call_in(loop: Any, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop is closed, and with it whoever waited in it
        return


_all: weakref.WeakSet[Flights] = weakref.WeakSet()


def _in_child() -> None:
    for flights in list(_all):
        flights._forget()  # noqa: SLF001 - what was under way is the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
