"""The engine `ray` under the kit of engines, on one cluster of two processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmcore_engine_ray.options import RayOptions
from llmcore_engine_ray.provider import RayEngine
from llmcore_testing import EngineConformance
from tests.kits.ray_processes import end_processes


@pytest.fixture(scope="module", autouse=True)
def _end_processes() -> Iterator[None]:
    with end_processes():
        yield


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
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
