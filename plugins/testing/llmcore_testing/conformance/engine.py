"""The conformance kit of engines.

An engine must run functions in other processes and report each failure as `EngineError`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar

import pytest

from llmcore.errors import EngineError
from llmcore_testing.conformance import engine_work as work
from llmcore_testing.conformance.optional_tests import OptionalParts, requires
from llmcore_testing.conformance.workers import is_descendant, is_running, list_processes, wait_until

__all__ = ["EngineConformance"]


class EngineConformance(OptionalParts):
    """The tests of an engine. A subclass overrides the fixture `provider`.

    The tests may share one engine, as in this example. The test of `close` gets a separate engine from `opener`::

        @pytest.fixture(scope="module")
        def engine():
            engine = MyEngine(MyOptions(workers=2))
            yield engine
            engine.close()

        class TestMine(EngineConformance):
            @pytest.fixture
            def provider(self, engine):
                return engine
    """

    kind: ClassVar[str] = "engine"
    deadline_s: ClassVar[float] = 90.0
    """The timeout for each call, in seconds."""
    start_s: ClassVar[float] = 60.0
    """The timeout in seconds for steps other than the execution of a call.

    These steps are the start of calls in all slots, the return of `submit`, and the end of calls and workers after
    `close` or the death of a worker.
    """

    @pytest.fixture
    def provider(self) -> Any:
        """Return the engine under test. Each subclass overrides this fixture."""
        pytest.fail(
            f"{type(self).__name__} has no fixture for the engine under test. Add to the class:\n\n"
            "    @pytest.fixture\n    def provider(self):\n        return MyEngine(MyOptions(workers=2))\n",
            pytrace=False,
        )

    @pytest.fixture
    def opener(self) -> Callable[[], Any] | None:
        """Return a function that makes another engine, or None if there can be only one."""
        return None

    @pytest.fixture(autouse=True)
    def _check_methods(self, provider: Any) -> None:
        missing = [
            name for name in ("count_slots", "submit", "close") if not callable(getattr(provider, name, None))
        ]
        if missing:
            pytest.fail(
                f"{type(provider).__name__} is not an engine: define {', '.join(missing)}", pytrace=False
            )

    def take(self, future: Future[bytes]) -> bytes:
        """Return the result of *future*."""
        assert isinstance(future, Future), (
            f"submit must return a concurrent.futures.Future, got {type(future).__name__}"
        )
        result = future.result(self.deadline_s)
        assert type(result) is bytes, f"the result must be bytes, got {type(result).__name__}"
        return result

    def take_error(self, future: Future[bytes]) -> EngineError:
        """Return the error of *future*, which must be an `EngineError` that chains no other exception."""
        error = future.exception(self.deadline_s)
        assert isinstance(error, EngineError), (
            f"a failed call must raise EngineError, got {type(error).__name__}: {error}"
        )
        chained = error.__cause__ or error.__context__
        assert chained is None, f"EngineError is chained to {type(chained).__name__}"
        return error

    def test_the_result_of_a_call_is_returned(self, provider: Any) -> None:
        for data in (b"abc", b"", bytes(range(256)) * 20_000):
            assert self.take(provider.submit(work.reverse, data)) == data[::-1]

    def test_a_call_runs_in_another_process(self, provider: Any) -> None:
        assert int(self.take(provider.submit(work.name_process, b""))) != os.getpid(), (
            "the call ran in the process of the application"
        )

    def test_as_many_calls_run_at_the_same_time_as_there_are_slots(
        self, provider: Any, tmp_path: Path
    ) -> None:
        slots = provider.count_slots()
        assert isinstance(slots, int)
        assert slots >= 1, f"count_slots must be at least 1, got {slots}"
        self._occupy_every_slot(provider, tmp_path, most=4)

    def _occupy_every_slot(self, provider: Any, folder: Path, most: int | None = None) -> None:
        """Start one call in each slot, but at most *most* calls. Each call ends when all of them have started."""
        slots = provider.count_slots()
        paths = [
            str(folder / f"slot{number}") for number in range(slots if most is None else min(slots, most))
        ]
        futures = [
            provider.submit(work.meet, "\n".join([*paths[at:], *paths[:at], str(self.start_s)]).encode())
            for at in range(len(paths))
        ]
        assert [self.take(future) for future in futures] == [b"met"] * len(paths)

    def test_submit_does_not_wait_for_the_call(self, provider: Any, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        with ThreadPoolExecutor(1) as pool:  # a blocking `submit` must fail the test, not hang it
            submitting = pool.submit(provider.submit, work.wait_for_file, str(gate).encode())
            done, _ = wait([submitting], self.start_s)
            early = bool(done)
            gate.touch()
            assert early, "submit waited for the call"
            assert self.take(submitting.result(self.deadline_s)) == b"seen"

    def test_threads_may_submit_at_the_same_time(self, provider: Any) -> None:
        with ThreadPoolExecutor(8) as pool:
            futures = list(pool.map(lambda number: provider.submit(work.reverse, b"%d|" % number), range(40)))
        assert [self.take(future) for future in futures] == [(b"%d|" % number)[::-1] for number in range(40)]

    def test_an_exception_of_the_function_is_an_error_with_its_words(self, provider: Any) -> None:
        error = self.take_error(provider.submit(work.fail, b"three is too many"))
        assert "ValueError" in error.message, "the error must name the type of the exception"
        assert "three is too many" in error.message, "the error must have the text of the exception"
        assert not error.lost, "lost must be False if the function raised, or the host would repeat the call"

    def test_an_exception_that_cannot_be_pickled_is_an_error(self, provider: Any) -> None:
        assert not self.take_error(provider.submit(work.fail_with_a_lock, b"locked")).lost
        assert self.take(provider.submit(work.reverse, b"ab")) == b"ba"

    def test_a_function_that_exits_fails_and_the_engine_goes_on(self, provider: Any) -> None:
        self.take_error(provider.submit(work.exit_python, b""))
        assert self.take(provider.submit(work.reverse, b"ab")) == b"ba"

    def test_a_worker_that_dies_is_reported_as_lost_and_the_engine_goes_on(self, provider: Any) -> None:
        assert self.take_error(provider.submit(work.die, b"")).lost, (
            "the error must have lost=True if the worker died"
        )
        assert self.take(provider.submit(work.reverse, b"ab")) == b"ba"

    def test_work_that_was_cancelled_before_its_start_does_not_run(
        self, provider: Any, tmp_path: Path
    ) -> None:
        gates = [tmp_path / f"gate{number}" for number in range(provider.count_slots())]
        busy = [provider.submit(work.wait_for_file, str(gate).encode()) for gate in gates]
        extra = tmp_path / "extra"
        extra.touch()
        future = provider.submit(work.wait_for_file, str(extra).encode())
        was_cancelled = future.cancel()
        for gate in gates:
            gate.touch()
        wait(busy, self.deadline_s)
        self._occupy_every_slot(provider, tmp_path)  # if the cancelled call was started, it has ended by then
        seen = extra.with_name("extra.seen").exists()
        assert not (was_cancelled and seen), "`cancel` returned True, but the call ran"

    def test_a_worker_that_dies_leaves_no_call_without_an_end(self, provider: Any, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        busy = [
            provider.submit(work.wait_for_file, str(gate).encode()) for _ in range(provider.count_slots() - 1)
        ]
        dying = provider.submit(work.die, b"")
        futures = [provider.submit(work.reverse, b"%d|" % number) for number in range(8)]
        assert self._find_error(dying) is not None, "a call whose worker died must have an error"
        gate.touch()
        for future in busy:
            self._find_error(future)
        for number, future in enumerate(futures):
            if self._find_error(future) is None:
                assert self.take(future) == (b"%d|" % number)[::-1]

    def _find_error(self, future: Future[bytes]) -> EngineError | None:
        """Return the error of a call that was lost because its worker died, or None if the call has a result."""
        __tracebackhide__ = True
        try:
            error = future.exception(self.start_s)
        except TimeoutError:
            pytest.fail("a worker died, and a call has no result: a batch would wait for ever")
        if error is None:
            return None
        lost = self.take_error(future)
        assert lost.lost, "a call that was lost with a worker must have lost=True"
        return lost

    def test_work_that_has_begun_is_not_withdrawn(self, provider: Any, tmp_path: Path) -> None:
        gate = tmp_path / "gate"
        future = provider.submit(work.begin_and_wait, str(gate).encode())
        begun = wait_until(gate.with_name("gate.begun").exists, self.start_s)
        was_cancelled = future.cancel()
        gate.touch()
        assert begun, f"the call did not start within {self.start_s:g} s"
        wait([future], self.deadline_s)  # an engine may end a call that runs
        assert not was_cancelled, "`cancel` returned True for a call that had begun"

    @requires("opener")
    def test_close_ends_the_workers_that_the_engine_started(self, opener: Callable[[], Any]) -> None:
        before = list_processes()
        engine = opener()
        worker = int(self.take(engine.submit(work.name_process, b"")))
        is_own = worker not in before and is_descendant(worker)  # a cluster's workers keep running
        engine.close()
        if is_own:
            assert wait_until(lambda: not is_running(worker), self.start_s), (
                "`close` must end the workers that the engine started"
            )

    @requires("opener")
    def test_close_ends_every_call(self, opener: Callable[[], Any], tmp_path: Path) -> None:
        engine, gate, begun = opener(), tmp_path / "gate", threading.Event()
        # The last two calls wait for a slot. `close` withdraws waiting calls, so their end shows that `close` has begun.
        calls = engine.count_slots() + 2
        futures = [engine.submit(work.begin_and_wait, str(gate).encode()) for _ in range(calls)]
        assert wait_until(gate.with_name("gate.begun").exists, self.start_s), "no call has started"
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(engine.close)
            for future in (closing, *futures):
                future.add_done_callback(lambda _: begun.set())
            begun.wait(self.start_s)
            gate.touch()  # an engine may wait for calls that have begun
            closing.result(self.deadline_s)
        for future in futures:
            try:
                error = future.exception(self.start_s)
                assert error is None or isinstance(error, EngineError), (
                    f"a call that `close` ends must raise EngineError, got {type(error).__name__}"
                )
            except CancelledError:
                pass
            except TimeoutError:
                pytest.fail(
                    "the engine was closed, and the future of a call has no result: a batch would wait for ever"
                )

    @requires("opener")
    def test_an_engine_may_be_closed_twice(self, opener: Callable[[], Any]) -> None:
        engine = opener()
        assert self.take(engine.submit(work.reverse, b"ab")) == b"ba"
        engine.close()
        engine.close()
