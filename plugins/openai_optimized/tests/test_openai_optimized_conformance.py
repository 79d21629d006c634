"""The conformance kit of language models, against the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from llmcore.types import Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.conformance import LLMConformance
from llmcore_testing.simulator import Simulator

CANARY = "sk-canary-1b7e"


class TestOpenAIProvider(LLMConformance):
    model: ClassVar[str] = "gpt-4o-mini"
    lacks = ("count_on_server",)

    @pytest.fixture
    def provider(self) -> Iterator[OpenAIProvider]:
        with Simulator() as upstream:
            yield OpenAIProvider(OpenAIOptions(api_key=Secret(CANARY), base_url=upstream.base_url))

    @pytest.fixture
    def broken(self, upstream: Simulator) -> OpenAIProvider:
        return OpenAIProvider(OpenAIOptions(api_key=Secret(CANARY), base_url=upstream.base_url))

    @pytest.fixture
    def canary(self) -> str | None:
        return CANARY

    def test_an_exact_count_equals_the_count_of_the_server(self) -> None:
        # The simulator counts characters; these are numbers that OpenAI's own servers sent.
        france = self.request("What is the capital of France?")
        count = self.caller.provider.count_tokens(france)
        assert (int(count), count.exact) == (14, True)

    def test_exact_most_usage_is_enough_and_not_above_the_estimate(self) -> None:
        france = self.request("What is the capital of France?")
        most, loose = (self.caller.provider.most_usage(france, exact=exact) for exact in (True, False))
        assert most is not None
        assert loose is not None
        assert 14 == most.input_tokens < loose.input_tokens
