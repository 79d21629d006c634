"""The conformance kit of language models over HTTP against the simulator, for the ten providers.

All are one class with different tables. So three run the whole kit, and each of the others what a table can change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from llmcore.types import ChatRequest, Secret
from llmcore_openai_compatible.options import CompatibleOptions
from llmcore_openai_compatible.provider import CompatibleProvider
from llmcore_openai_compatible.servers import SERVERS
from llmcore_testing import LLMConformance, Simulator

CANARY = "sk-canary-0123456789"
OF_THE_TABLE = {
    "test_a_conversation_of_several_messages_is_answered",
    "test_a_required_tool_call_has_a_name_and_arguments_as_text",
    "test_a_server_that_is_away_is_unavailable",
    "test_a_stream_has_its_usage_once",
    "test_a_streamed_answer_equals_the_answer_of_complete",
    "test_abilities_in_lacks_are_missing",
    "test_an_answer_cut_by_max_tokens_has_the_finish_reason_length",
    "test_an_answer_has_a_text_a_model_and_a_finish_reason",
    "test_each_text_gets_a_vector_of_the_same_length",
    "test_exact_most_usage_is_enough_and_not_above_the_estimate",
    "test_list_models_returns_distinct_names",
    "test_no_answer_uses_more_than_most_usage",
    "test_the_key_is_never_shown",
    "test_the_limits_of_embeddings_are_positive",
    "test_the_price_of_an_unknown_model_is_unknown",
    "test_the_server_gets_every_message",
    "test_the_server_gets_the_model_of_the_request",
    "test_the_server_gets_tools_and_parameters",
    "test_the_usage_of_a_stream_is_that_of_the_answer",
    "test_usage_is_given_and_consistent",
}
"""The tests of the kit whose result depends on the address, the key, or the names of models and parameters."""


def shorten(kit: type[LLMConformance]) -> type[LLMConformance]:
    """Leave in *kit* only the tests in `OF_THE_TABLE`."""
    for name in dir(kit):
        if name.startswith("test_") and name not in OF_THE_TABLE:
            setattr(kit, name, None)
    return kit


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


class Compatible(LLMConformance):
    name: ClassVar[str]
    lacks: ClassVar[tuple[str, ...]] = ("count_on_server", "submit", "list_batches", "batch_limits")

    @pytest.fixture
    def canary(self) -> str:
        return CANARY

    @pytest.fixture
    def provider(self, server: Simulator) -> Iterator[CompatibleProvider]:
        provider = self.make_provider(server)
        yield provider
        provider.close()

    @pytest.fixture
    def broken(self, upstream: Simulator) -> CompatibleProvider:
        return self.make_provider(upstream)

    def make_provider(self, server: Simulator) -> CompatibleProvider:
        options = CompatibleOptions(api_key=Secret(CANARY), base_url=server.base_url)
        return CompatibleProvider(SERVERS[self.name], options)


class Paid(Compatible):
    """A paid server: nothing is known of the longest answer but what the request says."""

    def request(self, content: Any, **parameters: Any) -> ChatRequest:
        return super().request(content, **{"max_tokens": 4096, **parameters})


class TestOllama(Compatible):
    name = "ollama"
    model = "llama3.2:1b"


@shorten
class TestVllm(Compatible):
    name = "vllm"
    model = "meta-llama/Llama-3.2-1B-Instruct"


@shorten
class TestLlamaCpp(Compatible):
    name = "llama_cpp"
    model = "ggml-org/gemma-3-1b-it-GGUF"


class TestLlamaCppDefault(Compatible):
    """The model that the server has loaded: the provider asks for it, so the first call is two requests."""

    name = "llama_cpp"
    model = "default"
    lacks = (*Compatible.lacks, "broken")  # `broken` requires one request for each call


@shorten
class TestLmStudio(Compatible):
    name = "lmstudio"
    model = "qwen/qwen3-4b"


@shorten
class TestOpenRouter(Paid):
    name = "openrouter"
    model = "anthropic/claude-sonnet-4"


@shorten
class TestGroq(Paid):
    name = "groq"
    model = "llama-3.3-70b-versatile"


@shorten
class TestDeepSeek(Paid):
    name = "deepseek"
    model = "deepseek-chat"


class TestMistral(Paid):
    name = "mistral"
    model = "mistral-small-latest"

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Simulator]:
        with Simulator(reports_usage=True) as simulator:
            yield simulator


@shorten
class TestTogether(Paid):
    name = "together"
    model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


@shorten
class TestGemini(Paid):
    name = "gemini"
    model = "gemini-2.5-flash"


def test_each_provider_is_tested() -> None:
    kits = [*Compatible.__subclasses__(), *Paid.__subclasses__()]
    assert {kit.name for kit in kits if kit is not Paid} == SERVERS.keys()
    assert {name for name in dir(LLMConformance) if name in OF_THE_TABLE} == OF_THE_TABLE
