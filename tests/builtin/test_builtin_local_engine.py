"""The engine `local` under the kit of engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmcore.builtin.local_engine.provider import LocalEngine
from llmcore.builtin.plugin import LocalOptions
from llmcore_testing import EngineConformance


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
