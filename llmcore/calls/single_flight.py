"""Single-flight: concurrent calls with the same key share one execution, its pieces and its result.

One owner runs the call: a task of the first caller's event loop, or the blocking caller that needs the next piece
(`flight_owner.py`). Callers only wait, so the others lose nothing if one is cancelled or leaves. When the last one leaves,
the call is cancelled and cleans up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, Final

from llmcore import forks
from llmcore.calls.bridges import END
from llmcore.calls.flight import Begin, Caller, Flight, Left
from llmcore.calls.flight_owner import Owner, advance
from llmcore.calls.steps import Step

__all__ = ["READ_AHEAD", "FlightResult", "Flights"]

READ_AHEAD: Final = 16
"""Pieces of a backend's stream that may wait for a caller: fewer task switches, with bounded memory."""


class FlightResult:
    """The result of a flight, as one of its callers sees it."""

    __slots__ = ("led", "pieces", "value")

    def __init__(self, value: Any, *, led: bool, pieces: int) -> None:
        self.value = value
        self.led = led
        """Whether this caller's own function ran."""
        self.pieces = pieces
        """The number of pieces."""


class Flights:
    """The calls in progress in this process, by key. Threads, tasks and event loops share them."""

    def __init__(self) -> None:
        self.after_fork()
        forks.watch(self)

    def join(
        self,
        key: str,
        begin: Begin,
        *,
        emit: Callable[[], object] | None = None,
        left: Left = lambda: None,
        ahead: int = 0,
    ) -> Generator[Any, Any, FlightResult]:
        """Run a call once for all callers that ask for *key* at the same time.

        After a failure, callers that have not received a piece retry once, together. A second failure is raised to all of
        them. An answer that may be billed (`LLMCoreError.answered`) is not requested again.

        Args:
            key: Equal for calls with equal results.
            begin: Returns the generator that runs the call.
            emit: Called before each emitted piece; None emits no pieces.
            left: Returns the seconds that the caller can still wait; None for no limit.
            ahead: The number of pieces that a task may produce before a caller asks for them.

        Raises:
            Timeout: The caller's time ran out. The call continues while others wait for it.
        """
        caller = Caller(left, emits=emit is not None)
        self._board(key, caller, ahead)
        try:
            return (yield from _wait(caller, begin, emit))
        except GeneratorExit:  # no further step is allowed
            if owner := self._leave(caller):
                owner.cancel()
            raise
        except BaseException:
            if owner := self._leave(caller):
                yield Step(owner.end, owner.aend)
            raise
        finally:
            caller.stop_timer()
            self._leave(caller)

    def left(self, key: str) -> float:
        """Return the longest time, in seconds, that a caller of *key* can still wait."""
        with self._lock:
            flight = self._flights.get(key)
            lefts = [] if flight is None else [caller.left() for caller in flight.callers]
        return max((float("inf") if left is None else left for left in lefts), default=0.0)

    def _board(self, key: str, caller: Caller, ahead: int) -> None:
        with self._lock:
            while True:
                flight = self._flights.get(key)
                if flight is None or flight.is_over:
                    flight = self._flights[key] = Flight(key, self._flights, self._lock, ahead)
                flight.add(caller)
                if not flight.is_over:  # the garbage collector may have removed its last caller just now
                    return

    def _leave(self, caller: Caller) -> Owner | None:
        """Remove *caller*. If it was the last one, return the owner, which has to end the call."""
        with self._lock:
            flight = caller.flight
            if caller not in flight.callers:
                return None
            flight.callers.remove(caller)
            if flight.callers:
                return None
            flight.close()
            return None if flight.is_over else flight.owner

    def after_fork(self) -> None:
        """Forget the calls in progress, which belong to the parent; see `forks.ForkAware`."""
        # Reentrant: the garbage collector may close a stream in a thread that holds the lock.
        self._lock = threading.RLock()
        self._flights: dict[str, Flight] = {}


def _wait(
    caller: Caller, begin: Begin, emit: Callable[[], object] | None
) -> Generator[Any, Any, FlightResult]:
    """Emit the pieces as they arrive, and return the result."""
    while True:
        flight = caller.flight
        is_over = flight.is_over  # read before the pieces: another thread may add the last one and end now
        while (piece := flight.take_piece(caller)) is not END:
            if emit is not None:
                emit()
                yield piece
        if not is_over:
            if not (yield advance(flight, begin, caller)):  # it would wait for its own thread
                return FlightResult((yield from begin()), led=True, pieces=caller.seen)
        elif caller.flight is flight:
            value = flight.take_result(caller)
            return FlightResult(value, led=flight.beginner is caller, pieces=caller.seen)
