"""Single flight: identical calls under way become one, whose pieces and result all of them share.

The work is a call like any other, a generator. Whoever is aboard and finds nobody driving drives it on, in its own
colour; the others wait for pieces. So a caller that is cancelled or leaves takes nothing from the rest: the step it was
waiting for goes on, and the next one takes over.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from llmcore.calls.drivers import Abandoned
from llmcore.calls.steps import Step
from llmcore.errors import Timeout

if TYPE_CHECKING:
    import asyncio

__all__ = ["Flights", "Landed"]

Work = Callable[[], Generator[Any, Any, Any]]

RETRIES: Final = 1
"""How often a follower tries again what its leader failed at, before all are given the error."""


class Landed:
    """What a flight came to, for one of those aboard."""

    __slots__ = ("led", "pieces", "value")

    def __init__(self, value: Any, *, led: bool, pieces: int) -> None:
        self.value = value
        self.led = led
        """Whether this caller drove the work to its end."""
        self.pieces = pieces
        """How many pieces the work gave."""


class Flights:
    """The calls under way in this process, by key. Threads, tasks and event loops share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def together(
        self,
        key: str,
        work: Work,
        *,
        emit: Callable[[], object] | None = None,
        left: Callable[[], float | None] = lambda: None,
    ) -> Generator[Any, Any, Landed]:
        """Carry out *work* once for all who ask for *key* at the same time.

        Args:
            key: Equal for calls with equal results.
            work: Begins the call.
            emit: Called before each piece that is emitted, from the first one on; None emits none.
            left: Seconds that the caller can still wait; None for ever.

        Raises:
            Timeout: The caller's time is over, not the flight's.
        """
        flight = self._boarded(key)
        seen, led = 0, False
        try:
            while True:
                while seen < len(flight.pieces):
                    piece = flight.pieces[seen]
                    seen += 1
                    if emit is not None:
                        emit()
                        yield piece
                if flight.over:
                    return Landed(flight.outcome(), led=led, pieces=seen)
                if flight.take():
                    led = True
                    yield from flight.drive(work)
                elif not (yield flight.waiting(seen, left())):
                    return Landed((yield from work()), led=True, pieces=seen)  # it would wait for itself
        finally:
            if self._left(flight):
                yield from flight.abandoned()

    def _boarded(self, key: str) -> Flight:
        with self._lock:
            flight = self._flights.get(key)
            if flight is None or flight.over:
                flight = self._flights[key] = Flight(key)
            flight.aboard += 1
            return flight

    def _left(self, flight: Flight) -> bool:
        """Take one off board; return whether the work is now nobody's and has to be ended."""
        with self._lock:
            flight.aboard -= 1
            if flight.aboard and not flight.over:
                return False
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            return not flight.over


class Flight:
    """One piece of work, what it has given so far, and who waits for more."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.aboard = 0
        self.pieces: list[Any] = []
        self.over = False
        self._value: Any = None
        self._error: Exception | None = None
        self._failures = 0
        self._work: Generator[Any, Any, Any] | None = None
        self._step: Step | None = None
        """What the work waits for; still to be carried out where its driver left."""
        self._task: asyncio.Future[Any] | None = None
        self._lock = threading.Lock()
        self._driver: int | None = None
        """The thread that drives; None where nobody does."""
        self._wakers: list[Callable[[], None]] = []

    def outcome(self) -> Any:
        """Return the result, or raise a copy of the error, since every caller adds its own traceback."""
        if self._error is None:
            return self._value
        error = copy.copy(self._error)
        error.__dict__.update(self._error.__dict__)
        raise error.with_traceback(None)

    # -- driving

    def take(self) -> bool:
        """Become the driver, where there is none."""
        with self._lock:
            if self._driver is not None or self.over:
                return False
            self._driver = threading.get_ident()
            return True

    def drive(self, begin: Work) -> Generator[Step, Any, None]:
        """Drive the work on to its next piece, or to its end."""
        try:
            work = self._work = self._work or begin()
            step = self._step or work.send(None)
            while type(step) is Step:
                value, failure = yield from self._carried(step)
                step = work.send(value) if failure is None else work.throw(failure)
            self.pieces.append(step)
        except StopIteration as stop:
            self._value, self.over = stop.value, True
        except Exception as error:
            self._failed(error)
            raise
        except BaseException:
            if self._step is None:  # the work itself was ended: the next driver begins anew
                self._work = None
            raise
        finally:
            self._give_back()

    def abandoned(self) -> Generator[Step, Any, None]:
        """End the work that nobody waits for any more, letting it clean up."""
        work, self._work = self._work, None
        task, self._task = self._task, None
        if task is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)
        if work is None:
            return
        try:
            step = work.throw(Abandoned())
            while True:
                step = work.send((yield step) if type(step) is Step else None)
        except (StopIteration, Abandoned):
            return

    def _carried(self, step: Step) -> Generator[Step, Any, tuple[Any, BaseException | None]]:
        """Carry out *step*; return its result and what it raised."""
        self._step = step
        failure: BaseException | None = None
        value: Any = None
        try:
            value = yield Step(self._blocking, self._awaiting, step)
        except BaseException as error:
            if self._task is not None and self.aboard > 1 and not isinstance(error, Exception):
                raise  # the step goes on without this driver
            failure = error
        self._step = self._task = None
        return value, failure

    def _blocking(self, step: Step) -> Any:
        if self._task is None:
            return step.blocking(*step.args)
        return _elsewhere(self._task).result()

    async def _awaiting(self, step: Step) -> Any:
        import asyncio

        if step.awaiting is None and self._task is None:
            return step.blocking(*step.args)
        if self._task is None:
            assert step.awaiting is not None  # noqa: S101 - for the type checker
            self._task = asyncio.ensure_future(step.awaiting(*step.args))
        if self._task.get_loop() is not asyncio.get_running_loop():
            return await asyncio.wrap_future(_elsewhere(self._task))
        task = self._task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self.aboard == 1 and not task.done():
                task.cancel()
            raise

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._work = self._step = None
        if self._failures > RETRIES or self.pieces or self.aboard == 1:
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
            raise self._late()
        return True

    async def _await(self, seen: int, seconds: float | None) -> bool:
        import asyncio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        if self._asleep(seen, lambda: _call_in(loop, woken.set)):
            try:
                async with asyncio.timeout(seconds):
                    await woken.wait()
            except TimeoutError:
                raise self._late() from None
        return True

    def _asleep(self, seen: int, wake: Callable[[], None]) -> bool:
        """Ask to be woken; return False where there is nothing to wait for."""
        with self._lock:
            if len(self.pieces) > seen or self.over or self._driver is None:
                return False
            self._wakers.append(wake)
            return True

    def _late(self) -> Timeout:
        return Timeout(
            "the deadline of the call passed while it waited for an identical one",
            expected="an answer within the deadline of [retry], or timeout=",
            fix="chat(..., timeout=seconds)",
        )


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:  # the loop is closed, and with it whoever waited in it
        return


def _elsewhere(task: asyncio.Future[Any]) -> Any:
    """Return what gives the result of *task*, which runs in another thread's loop."""
    import asyncio

    async def result() -> Any:
        return await asyncio.shield(task)

    if task.get_loop().is_closed():
        raise ConnectionError("the event loop in which the request was made is closed")
    return asyncio.run_coroutine_threadsafe(result(), task.get_loop())
