"""Engines, good and broken on purpose, under `EngineConformance`; test_conformance_engine.py runs this file."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from llmcore.builtin.local_engine.provider import LocalEngine
from llmcore.builtin.options import LocalOptions
from llmcore.errors import EngineError
from llmcore_testing.conformance import EngineConformance

Work = Callable[[bytes], bytes]


class Good:
    """Correct, on top of `local`."""

    def __init__(self) -> None:
        self.inner = LocalEngine(LocalOptions(workers=1))

    def count_slots(self) -> int:
        return self.inner.count_slots()

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return self.inner.submit(function, data)

    def close(self) -> None:
        self.inner.close()

    def follow(
        self, future: Future[bytes], change: Callable[[BaseException], BaseException]
    ) -> Future[bytes]:
        """Return a future with the result of *future*, or its error after *change*."""
        other: Future[bytes] = Future()
        other.set_running_or_notify_cancel()

        def finish(done: Future[bytes]) -> None:
            error = done.exception()
            if error is None:
                other.set_result(done.result())
            else:
                other.set_exception(change(error))

        future.add_done_callback(finish)
        return other


class RunsHere(Good):
    """Runs the work in the process of the application."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_result(function(data))
        return future


class Waits(Good):
    """Returns the future when the call has ended."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future = super().submit(function, data)
        future.exception()
        return future


class BoastsOfSlots(Good):
    """Reports more slots than calls that it runs at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Future[bytes] | None = None

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()

        def finish(done: Future[bytes]) -> None:
            if error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())

        def start(_: object) -> None:
            self.inner.submit(function, data).add_done_callback(finish)

        previous, self.last = self.last, future
        if previous is None:
            start(None)
        else:
            previous.add_done_callback(start)
        return future


class DropsEmpty(Good):
    """Takes an empty result for none."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return super().submit(function, data or b"nothing")


class RaisesForeignErrors(Good):
    """Raises what the function raised."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return self.follow(super().submit(function, data), lambda error: RuntimeError(str(error)))


class ChainsErrors(Good):
    """Chains its errors to foreign ones."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        def chain(error: BaseException) -> BaseException:
            error.__cause__ = ValueError("with a key")
            return error

        return self.follow(super().submit(function, data), chain)


class HidesTheReason(Good):
    """Says only that something failed."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return self.follow(
            super().submit(function, data),
            lambda error: EngineError("it failed", lost=isinstance(error, EngineError) and error.lost),
        )


class NeverLost(Good):
    """Reports a dead worker like a failed call."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return self.follow(super().submit(function, data), lambda error: EngineError(str(error)))


class AlwaysLost(Good):
    """Reports a failed call like a dead worker."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        return self.follow(super().submit(function, data), lambda error: EngineError(str(error), lost=True))


class EndsWithItsWorker(Good):
    """Fails for ever after one worker has died."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = False

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        if self.dead:
            raise EngineError("the pool is broken", lost=True)

        def note(error: BaseException) -> BaseException:
            self.dead = isinstance(error, EngineError) and error.lost
            return error

        return self.follow(super().submit(function, data), note)


class CancelsOnlyTheFuture(Good):
    """Lets cancelled work run."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        inner = super().submit(function, data)
        future: Future[bytes] = Future()

        def finish(done: Future[bytes]) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())

        inner.add_done_callback(finish)
        return future


class ClosesOnce(Good):
    """Fails at a second `close`."""

    def close(self) -> None:
        super().close()
        del self.inner


class KeepsItsWorkers(Good):
    """Leaves the processes of its workers behind."""

    def close(self) -> None:
        atexit.register(self.inner.close)


class RaisesForeignErrorsAtTheEnd(Good):
    """Ends the calls at `close` with the exception of its library."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()

        def finish(done: Future[bytes]) -> None:
            if self.is_closed:
                future.set_exception(RuntimeError("the pool is closed"))
            elif error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())

        super().submit(function, data).add_done_callback(finish)
        return future

    def close(self) -> None:
        self.is_closed = True
        super().close()


class ReturnsByteArrays(Good):
    """Returns a buffer that the caller may change."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()

        def finish(done: Future[bytes]) -> None:
            if error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(bytearray(done.result()))  # type: ignore[arg-type]

        super().submit(function, data).add_done_callback(finish)
        return future


class WithdrawsRunningCalls(Good):
    """Says of a running call that it was withdrawn."""

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future = super().submit(function, data)
        future.cancel = lambda: True  # type: ignore[method-assign]
        return future


class ForgetsQueuedCalls(Good):
    """Forgets the calls that wait for a worker when the worker dies."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: set[Future[bytes]] = set()

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()
        self.calls.add(future)

        def finish(done: Future[bytes]) -> None:
            if future not in self.calls:
                return
            error = done.exception()
            if isinstance(error, EngineError) and error.lost:
                self.calls.clear()
            if error is not None:
                future.set_exception(error)
            else:
                self.calls.discard(future)
                future.set_result(done.result())

        super().submit(function, data).add_done_callback(finish)
        return future


class ForgetsItsCalls(Good):
    """Leaves the futures of its calls without results at `close`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def submit(self, function: Work, data: bytes) -> Future[bytes]:
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()

        def finish(done: Future[bytes]) -> None:
            if self.is_closed:
                return
            if error := done.exception():
                future.set_exception(error)
            else:
                future.set_result(done.result())

        super().submit(function, data).add_done_callback(finish)
        return future

    def close(self) -> None:
        self.is_closed = True
        super().close()


@pytest.fixture(scope="class")
def engine(request: pytest.FixtureRequest) -> Iterator[Good]:
    engine: Good = request.cls.make()
    yield engine
    engine.close()


class Kit(EngineConformance):
    make: type[Good]

    @pytest.fixture
    def provider(self, engine: Good) -> Good:
        return engine

    @pytest.fixture
    def opener(self) -> Callable[[], Any]:
        return self.make


_QUICK: dict[type[Good], dict[str, float]] = {
    BoastsOfSlots: {"start_s": 5.0},
    ForgetsItsCalls: {"start_s": 1.0},
    ForgetsQueuedCalls: {"start_s": 1.0},
    KeepsItsWorkers: {"start_s": 1.0},
    Waits: {"start_s": 5.0},
}
del EngineConformance
_ALL: list[type[Good]] = [Good, *Good.__subclasses__()]
for each in _ALL:
    globals()[f"Test{each.__name__}"] = type(
        f"Test{each.__name__}", (Kit,), {"make": each, **_QUICK.get(each, {})}
    )
del Kit
