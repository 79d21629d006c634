"""The engine `local` under the kit of engines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from llmcore.builtin.local_engine.provider import LocalEngine, _Call
from llmcore.builtin.options import LocalOptions
from llmcore.errors import EngineError
from llmcore_testing import EngineConformance
from tests.kits.waiting import wait_until


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    engine = LocalEngine(LocalOptions(workers=2))
    yield engine
    engine.close()


class TestLocalEngine(EngineConformance):
    @pytest.fixture
    def provider(self, engine: LocalEngine) -> LocalEngine:
        return engine

    @pytest.fixture
    def opener(self) -> Callable[[], LocalEngine]:
        return lambda: LocalEngine(LocalOptions(workers=1))


def tell_pid(_: bytes) -> bytes:
    return str(os.getpid()).encode()


def test_a_call_for_a_worker_that_has_ended_fails_and_the_next_one_gets_another() -> None:
    engine = LocalEngine(LocalOptions(workers=1))
    try:
        pid = int(engine.submit(tell_pid, b"").result(60))
        (worker,) = engine._workers
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not worker.is_alive)
        late: Future[bytes] = Future()
        worker.send(_Call(tell_pid, b"", late))  # as by a thread that chose this worker before it ended
        with pytest.raises(EngineError) as caught:
            late.result(60)
        assert caught.value.lost
        assert int(engine.submit(tell_pid, b"").result(60)) != pid
    finally:
        engine.close()
