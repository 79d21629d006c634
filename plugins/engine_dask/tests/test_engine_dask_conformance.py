"""The engine `dask` under the kit of engines, on one cluster of two processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmcore_engine_dask.options import DaskOptions
from llmcore_engine_dask.provider import DaskEngine
from llmcore_testing import EngineConformance


@pytest.fixture(scope="module")
def engine() -> Iterator[DaskEngine]:
    engine = DaskEngine(DaskOptions(workers=2))
    yield engine
    engine.close()


class TestDaskEngine(EngineConformance):
    @pytest.fixture
    def provider(self, engine: DaskEngine) -> DaskEngine:
        return engine

    @pytest.fixture
    def opener(self) -> Callable[[], DaskEngine]:
        return lambda: DaskEngine(DaskOptions(workers=1))
