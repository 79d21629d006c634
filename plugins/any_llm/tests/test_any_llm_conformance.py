"""The conformance kit of language models, through any-llm's provider of OpenAI's protocol, against the simulated upstream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.types import ChatRequest, Secret
from llmcore_any_llm.options import AnyLLMOptions
from llmcore_any_llm.provider import AnyLLMProvider
from llmcore_testing import LLMConformance, Simulator
from llmcore_testing.conformance.caller import Call, Caller

CANARY = "sk-canary-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def make_provider(server: Simulator) -> AnyLLMProvider:
    return AnyLLMProvider(AnyLLMOptions(vendor="openai", api_key=Secret(CANARY), api_base=server.base_url))


class TestAnyLLM(LLMConformance):
    model = "openai:gpt-4o-mini"
    lacks = ("count_on_server", "submit", "list_batches", "batch_limits")

    @pytest.fixture(params=["async"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        """Return the only variant that is written; the host bridges the blocking methods, see test_any_llm_provider."""
        return request.param

    @pytest.fixture
    def canary(self) -> str:
        return CANARY

    @pytest.fixture
    def provider(self, server: Simulator) -> AnyLLMProvider:
        return make_provider(server)

    @pytest.fixture
    def broken(self, upstream: Simulator) -> AnyLLMProvider:
        return make_provider(upstream)

    def request(self, content: Any, **parameters: Any) -> ChatRequest:
        """Return a request with a limit: nothing else bounds the answers of a vendor."""
        return super().request(content, **{"max_tokens": 4096, **parameters})

    def make_timed_call(
        self, caller: Caller, timeout_s: float, idle_s: float
    ) -> tuple[Call, dict[str, Any]] | None:
        """Leave out the idle timeout: any-llm does not show when bytes of a whole answer arrive."""
        return None if idle_s < timeout_s else super().make_timed_call(caller, timeout_s, idle_s)
