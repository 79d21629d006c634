"""The conformance kit of language models, for each of the ten providers over HTTP against the simulator."""

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


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


class Compatible(LLMConformance):
    name: ClassVar[str]
    lacks = ("count_on_server",)

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


class TestVllm(Compatible):
    name = "vllm"
    model = "meta-llama/Llama-3.2-1B-Instruct"


class TestLlamaCpp(Compatible):
    name = "llama_cpp"
    model = "ggml-org/gemma-3-1b-it-GGUF"


class TestLlamaCppDefault(Compatible):
    """The model that the server has loaded: the provider asks for it, so the first call is two requests."""

    name = "llama_cpp"
    model = "default"

    @pytest.fixture
    def broken(self) -> None:
        """Return nothing: `broken` requires one request for each call."""


class TestLmStudio(Compatible):
    name = "lmstudio"
    model = "qwen/qwen3-4b"


class TestOpenRouter(Paid):
    name = "openrouter"
    model = "anthropic/claude-sonnet-4"


class TestGroq(Paid):
    name = "groq"
    model = "llama-3.3-70b-versatile"


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


class TestTogether(Paid):
    name = "together"
    model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"


class TestGemini(Paid):
    name = "gemini"
    model = "gemini-2.5-flash"


def test_each_provider_is_tested() -> None:
    kits = [*Compatible.__subclasses__(), *Paid.__subclasses__()]
    assert {kit.name for kit in kits if kit is not Paid} == SERVERS.keys()
