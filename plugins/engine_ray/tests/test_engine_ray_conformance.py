"""The engine `ray` under the kit of engines, on one cluster of two processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.errors import EngineError
from llmcore_engine_ray.options import RayOptions
from llmcore_engine_ray.provider import RayEngine
from llmcore_engine_ray.worker import call
from llmcore_testing import EngineConformance
from llmcore_testing.conformance import engine_work as work
from tests.kits.ray_processes import end_processes


@pytest.fixture(scope="module", autouse=True)
def _end_processes() -> Iterator[None]:
    with end_processes():
        yield


@pytest.fixture(scope="module")
def engine(_end_processes: None) -> Iterator[RayEngine]:
    """Return one engine for all tests. pytest 8.0 would close it after `_end_processes` if the last test does not use it."""
    engine = RayEngine(RayOptions(workers=2))
    yield engine
    engine.close()


class TestRayEngine(EngineConformance):
    @pytest.fixture
    def provider(self, engine: RayEngine) -> RayEngine:
        return engine

    @pytest.fixture
    def opener(self) -> Callable[[], RayEngine]:
        return lambda: RayEngine(RayOptions(workers=1))


def test_work_that_ray_cannot_send_fails_alone(engine: RayEngine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = engine.submit(work.wait_for_file, str(gate).encode())
    data: Any = threading.Lock()
    with pytest.raises(EngineError, match="Ray refused the work: TypeError") as caught:
        engine.submit(work.reverse, data)
    assert not caught.value.lost
    gate.touch()
    assert running.result(90) == b"seen", "the connection was closed for all tasks"


def name_sigint_handler(_: bytes) -> bytes:
    return repr(signal.getsignal(signal.SIGINT)).encode()


def test_a_worker_ignores_sigint_only_during_a_task() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert call(name_sigint_handler, b"") == (repr(signal.SIG_IGN).encode(), "")
    assert signal.getsignal(signal.SIGINT) is before
