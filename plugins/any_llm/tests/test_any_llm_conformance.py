"""The conformance kit of language models, through any-llm's provider of OpenAI's protocol, against the simulated upstream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.types import ChatRequest, Secret
from llmcore_any_llm.options import AnyLLMOptions
from llmcore_any_llm.provider import AnyLLMProvider
from llmcore_testing import LLMConformance, Simulator

CANARY = "sk-canary-0123456789"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


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
    def provider(self, upstream: Simulator) -> AnyLLMProvider:
        options = AnyLLMOptions(vendor="openai", api_key=Secret(CANARY), api_base=upstream.base_url)
        return AnyLLMProvider(options)

    def request(self, content: Any, **parameters: Any) -> ChatRequest:
        """Return a request with a limit: nothing else bounds the answers of a vendor."""
        return super().request(content, **{"max_tokens": 4096, **parameters})
