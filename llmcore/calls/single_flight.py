"""Join concurrent calls with the same key (single-flight): they share one execution, its pieces and its result.

An owner (`flight_owner.py`) runs the call: in a task of the first caller's event loop, or in threads if the first
caller blocks. A caller that is cancelled or leaves does not disturb the others. When the last caller leaves, the call
is cancelled.
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
"""The maximum number of pieces that a call may produce before a caller takes them.

More pieces mean fewer task switches, but more memory.
"""


class FlightResult:
    """The result of a flight for one caller."""

    __slots__ = ("led", "pieces", "value")

    def __init__(self, value: Any, *, led: bool, pieces: int) -> None:
        self.value = value
        self.led = led
        """True if this caller's function made the call."""
        self.pieces = pieces
        """The number of pieces that this caller has taken."""


class Flights:
    """The flights of this process by key. Threads, tasks and event loops share the flights."""

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
        """Run one call for all concurrent callers with the same *key*.

        After a failure, the callers that have not emitted a piece retry once, together. If the retry fails too, all
        these callers receive its error. An error with `LLMCoreError.answered` is not retried, because the server may
        bill each answer.

        Args:
            key: The key. Calls with the same key must have the same result.
            begin: Returns a new generator that makes the call.
            emit: A function that is called before each emitted piece. With None, pieces are not emitted.
            left: Returns the remaining seconds until the caller's deadline; None for no deadline.
            ahead: The number of pieces that a task may produce before callers request them.

        Raises:
            Timeout: The caller's deadline passed. The call continues for the other callers.
        """
        caller = Caller(left, emits=emit is not None)
        self._join(key, caller, ahead)
        try:
            return (yield from _wait(caller, begin, emit))
        except GeneratorExit:  # a closing generator must not yield another step
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

    def get_time_left(self, key: str) -> float:
        """Return the longest time, in seconds, that a caller of *key* can still wait."""
        with self._lock:
            flight = self._flights.get(key)
            lefts = [] if flight is None else [caller.left() for caller in flight.callers]
        return max((float("inf") if left is None else left for left in lefts), default=0.0)

    def _join(self, key: str, caller: Caller, ahead: int) -> None:
        with self._lock:
            while True:
                flight = self._flights.get(key)
                if flight is None or flight.is_over:
                    flight = self._flights[key] = Flight(key, self._flights, self._lock, ahead)
                flight.add(caller)
                # the garbage collector may just have removed the last caller of the flight
                if not flight.is_over:
                    return

    def _leave(self, caller: Caller) -> Owner | None:
        """Remove *caller*. If no caller remains, return the owner, which must end the call."""
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
        """Drop the flights in a forked child, because they belong to the parent; see `forks.ForkAware`."""
        # Reentrant: the garbage collector may close a stream in a thread that already holds the lock.
        self._lock = threading.RLock()
        self._flights: dict[str, Flight] = {}


def _wait(
    caller: Caller, begin: Begin, emit: Callable[[], object] | None
) -> Generator[Any, Any, FlightResult]:
    """Emit the pieces as they arrive. Return the result."""
    while True:
        flight = caller.flight
        # Read this before the pieces: another thread may add the last piece and finish at any time.
        is_over = flight.is_over
        while caller.seen < len(flight.pieces) and (piece := flight.take_piece(caller)) is not END:
            if emit is not None:
                emit()
                yield piece
        if not is_over:
            if not (yield advance(flight, begin, caller)):  # this thread would wait for itself
                return FlightResult((yield from begin()), led=True, pieces=caller.seen)
        elif caller.flight is flight:
            value = flight.take_result(caller)
            return FlightResult(value, led=flight.beginner is caller, pieces=caller.seen)
