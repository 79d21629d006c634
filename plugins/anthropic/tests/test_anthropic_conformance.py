"""The conformance kit of language models, for the real SDK over HTTP against the simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmcore.types import Secret
from llmcore_anthropic.options import AnthropicOptions
from llmcore_anthropic.provider import AnthropicProvider
from llmcore_testing import LLMConformance, Simulator

KEY = "sk-ant-canary-0123456789"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


class TestAnthropic(LLMConformance):
    model = "claude-sonnet-5"
    lacks = ("embed", "embedding_limits")

    @pytest.fixture
    def broken(self, upstream: Simulator) -> AnthropicProvider:
        return AnthropicProvider(AnthropicOptions(api_key=Secret(KEY), base_url=upstream.url))

    @pytest.fixture
    def canary(self) -> str:
        return KEY

    @pytest.fixture
    def provider(self, upstream: Simulator) -> Iterator[AnthropicProvider]:
        provider = AnthropicProvider(AnthropicOptions(api_key=Secret(KEY), base_url=upstream.url))
        yield provider
        provider.close()
