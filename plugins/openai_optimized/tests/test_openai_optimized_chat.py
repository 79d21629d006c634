"""Complete answers over real HTTP: requests and replies, sync and async."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from llmcore.contracts import (
    AsyncLLMProvider,
    AsyncModelListing,
    AsyncStreamingLLMProvider,
    LLMProvider,
    ModelListing,
    PricingProvider,
    StreamingLLMProvider,
    TokenCounter,
    UsageBounds,
)
from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Reply, Secret, ToolCall, Usage
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_testing.simulator import Fault, Simulator

MODEL = "gpt-5.6-luna"


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[OpenAIProvider]:
    made = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test"), base_url=upstream.base_url))
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_request(text: str = "Hello", **parameters: Any) -> ChatRequest:
    messages: Any = [{"role": "user", "content": text}]
    return ChatRequest(model=MODEL, messages=messages, parameters=parameters, timeout_s=30, idle_s=10)


def complete(provider: OpenAIProvider, variant: str, request: ChatRequest) -> Reply:
    if variant == "sync":
        return provider.complete(request)
    return asyncio.run(provider.acomplete(request))


def make_completion(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"choices": [choice | {k: more.pop(k) for k in ("finish_reason",) if k in more}], **more}


def test_it_keeps_every_contract(provider: OpenAIProvider) -> None:
    for contract in (
        LLMProvider, AsyncLLMProvider, StreamingLLMProvider, AsyncStreamingLLMProvider, TokenCounter,
        PricingProvider, ModelListing, AsyncModelListing, UsageBounds,
    ):  # fmt: skip
        assert isinstance(provider, contract)


def test_the_request_goes_out_as_it_was_given(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    complete(provider, variant, make_request(temperature=0.5, max_completion_tokens=9))
    sent = upstream.requests[0]
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert list(sent.body) == ["model", "messages", "temperature", "max_completion_tokens"]
    assert sent.headers["authorization"] == "Bearer sk-test"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["user-agent"].startswith("OpenAI/Python")


def test_organization_project_and_own_headers_go_along(upstream: Simulator, variant: str) -> None:
    options = OpenAIOptions(
        api_key=Secret("sk-test"), base_url=upstream.base_url, organization="org-1", project="proj-1",
        headers={"X-Team": "rain"},
    )  # fmt: skip
    provider = OpenAIProvider(options)
    complete(provider, variant, make_request())
    headers = upstream.requests[0].headers
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj-1"
    assert headers["x-team"] == "rain"
    provider.close()


def test_an_own_authorization_header_takes_the_keys_place(upstream: Simulator, variant: str) -> None:
    options = OpenAIOptions(
        api_key=Secret("unused"), base_url=upstream.base_url, headers={"Authorization": "Bearer gateway"}
    )
    provider = OpenAIProvider(options)
    complete(provider, variant, make_request())
    assert upstream.requests[0].headers["authorization"] == "Bearer gateway"
    provider.close()


def test_the_whole_answer_comes_back(upstream: Simulator, provider: OpenAIProvider, variant: str) -> None:
    usage = {
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 20, "audio_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 2},
    }  # fmt: skip
    upstream.replies(
        make_completion(
            {"content": "Rain falls"}, finish_reason="length", usage=usage, service_tier="priority",
            model="gpt-5.6-luna-2026-07-30",
        )
    )  # fmt: skip
    reply = complete(provider, variant, make_request())
    assert (reply.text, reply.finish_reason) == ("Rain falls", "length")
    assert reply.model == "gpt-5.6-luna-2026-07-30"
    assert reply.service_tier == "priority"
    assert reply.request_id
    assert reply.usage == Usage(
        input_tokens=100, output_tokens=50, cached_tokens=40, cache_write_tokens=20, reasoning_tokens=30,
        audio_input_tokens=5, audio_output_tokens=2,
    )  # fmt: skip
    assert reply.raw["choices"][0]["message"]["content"] == "Rain falls"


def test_tool_calls_come_back_custom_ones_too(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "custom", "custom": {"name": "sql", "input": "select 1"}},
    ]
    upstream.replies(make_completion({"content": None, "tool_calls": calls}, finish_reason="tool_calls"))
    reply = complete(
        provider, variant, make_request(tools=[{"type": "function", "function": {"name": "add"}}])
    )
    assert reply.text == ""
    assert reply.tool_calls == (
        ToolCall(name="add", arguments='{"a": 1}', id="c1"),
        ToolCall(name="sql", arguments="select 1", id="c2", type="custom", index=1),
    )


def test_content_in_parts_is_joined(upstream: Simulator, provider: OpenAIProvider) -> None:
    parts = [
        {"type": "thinking", "thinking": []},
        {"type": "text", "text": "Rain"},
        {"type": "text", "text": "."},
    ]
    upstream.replies(make_completion({"content": parts}))
    assert provider.complete(make_request()).text == "Rain."


def test_a_body_with_nan_in_it_is_still_json_that_everybody_reads(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    upstream.fail(Fault.usage(prompt_tokens=float("nan")))
    assert complete(provider, variant, make_request()).raw["choices"]


def test_the_models_are_listed(upstream: Simulator, provider: OpenAIProvider) -> None:
    listed = provider.list_models()
    assert MODEL in listed
    assert list(asyncio.run(provider.alist_models())) == list(listed)
    assert upstream.requests[0].path == "/v1/models"


def test_values_without_a_json_form_are_rejected_before_sending(
    upstream: Simulator, provider: OpenAIProvider, variant: str
) -> None:
    for value in (object(), "\ud800"):
        with pytest.raises(BadRequest) as caught:
            complete(provider, variant, make_request(user=value))
        assert caught.value.status is None
    assert upstream.requests == []


def test_azure_is_asked_at_its_deployment_with_its_own_key(upstream: Simulator, variant: str) -> None:
    options = OpenAIOptions(
        api_key=Secret("azure-key"), azure_endpoint=upstream.url, api_version="2024-10-21"
    )
    provider = OpenAIProvider(options)
    for model in ("my deployment", "other"):
        request = msgspec.structs.replace(make_request(), model=model)
        assert complete(provider, variant, request).text
    first, second = upstream.requests
    assert first.path.startswith("/openai/deployments/my")
    assert second.path == "/openai/deployments/other/chat/completions"
    assert first.headers["api-key"] == "azure-key"
    assert "authorization" not in first.headers
    provider.close()


def test_blocking_calls_share_one_connection(upstream: Simulator, provider: OpenAIProvider) -> None:
    for _ in range(3):
        provider.complete(make_request())
        assert list(provider.stream(make_request()))
    assert upstream.counts["connections"] == 1


def test_each_event_loop_has_its_own_connections(upstream: Simulator, provider: OpenAIProvider) -> None:
    async def twice() -> None:
        await provider.acomplete(make_request())
        await provider.acomplete(make_request())

    for _ in range(3):
        asyncio.run(twice())
    threads = [threading.Thread(target=asyncio.run, args=(twice(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert upstream.counts["status_200"] == 12
    assert upstream.counts["connections"] == 6


def test_closing_from_outside_ends_the_connections_of_a_sleeping_loop(provider: OpenAIProvider) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(provider.acomplete(make_request()))
    provider.close()
    loop.close()  # with an open connection left, its collection would warn, and warnings are errors here


def test_a_closed_provider_opens_again(provider: OpenAIProvider, variant: str) -> None:
    complete(provider, variant, make_request())
    provider.close()
    assert complete(provider, variant, make_request()).text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_opens_its_own_connection(upstream: Simulator, provider: OpenAIProvider) -> None:
    provider.complete(make_request())
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if provider.complete(make_request("child")).text.endswith("child") else 1)
        finally:
            os._exit(2)
    assert provider.complete(make_request("parent")).text.endswith("parent")
    assert os.waitpid(child, 0)[1] == 0
    assert upstream.counts["connections"] == 2
