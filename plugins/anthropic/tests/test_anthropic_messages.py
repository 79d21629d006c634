"""Requests and answers on the wire: the real SDK over HTTP, against the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Delta, Reply, Secret
from llmcore_anthropic.options import AnthropicOptions
from llmcore_anthropic.provider import AnthropicProvider
from llmcore_testing import Simulator

MODEL = "claude-sonnet-5"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def provider(upstream: Simulator) -> Iterator[AnthropicProvider]:
    provider = AnthropicProvider(
        AnthropicOptions(
            api_key=Secret("sk-ant-test"), base_url=upstream.url, headers={"anthropic-beta": "a-beta"}
        )
    )
    yield provider
    provider.close()


def ask(content: Any, **parameters: Any) -> ChatRequest:
    messages: Any = [{"role": "user", "content": content}] if isinstance(content, str) else content
    return ChatRequest(model=MODEL, messages=messages, parameters=parameters, timeout_s=20, idle_s=20)


def get_body(upstream: Simulator) -> dict[str, Any]:
    body = upstream.requests[-1].body
    assert isinstance(body, dict)
    return body


def join(deltas: list[Delta]) -> tuple[str, str]:
    return "".join(each.text for each in deltas), "".join(each.reasoning for each in deltas)


def test_a_chat_is_sent_as_a_message(provider: AnthropicProvider, upstream: Simulator) -> None:
    reply = provider.complete(
        ask(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Again", "cache_control": {"type": "ephemeral"}}],
                },
            ],
            max_completion_tokens=50,
            stop="END",
            temperature=0.5,
            user="ann",
            top_k=3,
        )
    )
    request = upstream.requests[-1]
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == "sk-ant-test"
    assert request.headers["anthropic-beta"] == "a-beta"
    assert request.headers["anthropic-version"]
    assert "authorization" not in request.headers
    assert get_body(upstream) == {
        "model": MODEL,
        "max_tokens": 50,
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Again", "cache_control": {"type": "ephemeral"}}],
            },
        ],
        "system": "Be brief.",
        "temperature": 0.5,
        "top_k": 3,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "ann"},
    }
    assert reply.finish_reason == "stop"
    assert reply.model == MODEL
    assert reply.request_id
    assert reply.limits is not None
    assert reply.limits.requests_limit == 4000
    assert reply.raw["type"] == "message"


def test_a_call_without_a_limit_takes_the_configured_one(
    provider: AnthropicProvider, upstream: Simulator
) -> None:
    provider.complete(ask("Hello"))
    assert get_body(upstream)["max_tokens"] == 4096


def test_a_cut_answer_ends_with_length(provider: AnthropicProvider) -> None:
    assert provider.complete(ask("Tell me a long story", max_tokens=3)).finish_reason == "length"


def test_images_and_documents_are_sent_as_blocks(provider: AnthropicProvider, upstream: Simulator) -> None:
    provider.complete(
        ask(
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
                        {
                            "type": "file",
                            "file": {
                                "filename": "a.pdf",
                                "file_data": "data:application/pdf;base64,JVBERg==",
                            },
                        },
                        {"type": "file", "file": {"file_id": "file_1"}},
                    ],
                }
            ]
        )
    )
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    assert get_body(upstream)["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}},
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ]


@pytest.mark.parametrize("method", ["complete", "stream"])
def test_tools_are_called_and_their_results_are_sent_back(
    provider: AnthropicProvider, upstream: Simulator, method: str
) -> None:
    request = ask("Weather in Paris?", tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    if method == "stream":
        deltas = list(provider.stream(request))
        calls = [call for delta in deltas for call in delta.tool_calls]
        name, call_id = calls[0].name, calls[0].id
        arguments = "".join(call.arguments for call in calls)
        assert deltas[-1].finish_reason == "tool_calls"
    else:
        reply = provider.complete(request)
        (call,) = reply.tool_calls
        name, call_id, arguments = call.name, call.id, call.arguments
        assert reply.finish_reason == "tool_calls"
    assert name == "get_weather"
    assert '"city"' in arguments
    body = get_body(upstream)
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert body["tools"][0]["input_schema"] == TOOL["function"]["parameters"]  # type: ignore[index]
    call_message = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    provider.complete(
        ask(
            [
                {"role": "user", "content": "Weather in Paris?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [call_message, {**call_message, "id": "two"}],
                },
                {"role": "tool", "tool_call_id": call_id, "content": "18 degrees"},
                {"role": "tool", "tool_call_id": "two", "content": "19 degrees"},
            ],
            tools=[TOOL],
        )
    )
    _, assistant, results = get_body(upstream)["messages"]
    assert [block["type"] for block in assistant["content"]] == ["tool_use", "tool_use"]
    assert isinstance(assistant["content"][0]["input"], dict)
    assert results == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": call_id, "content": "18 degrees"},
            {"type": "tool_result", "tool_use_id": "two", "content": "19 degrees"},
        ],
    }


def test_thinking_becomes_reasoning_and_keeps_its_signature(provider: AnthropicProvider) -> None:
    request = ask("Think.", thinking={"type": "adaptive"}, reasoning_effort="high")
    reply = provider.complete(request)
    assert reply.reasoning
    deltas = list(provider.stream(request))
    assert join(deltas) == (reply.text, reply.reasoning)
    streamed = Reply(text="", body=deltas[-1].body).raw
    assert streamed["content"] == reply.raw["content"]
    assert streamed["content"][0]["signature"]


def test_structured_output_is_requested_by_schema(provider: AnthropicProvider, upstream: Simulator) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    reply = provider.complete(ask("Who?", response_format=wanted, reasoning_effort="low"))
    expected = {"format": {"type": "json_schema", "schema": schema}, "effort": "low"}
    assert get_body(upstream)["output_config"] == expected
    assert '"name"' in reply.text


@pytest.mark.parametrize(
    ("messages", "parameters", "where"),
    [
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], {}, "messages[0].content[0].type"),
        ([{"role": "user", "content": "Hi", "name": "ann"}], {}, "messages[0].name"),
        ([{"role": "assistant", "content": "Hi", "reasoning_content": "x"}], {}, "messages[0].reasoning_content"),
        ([{"role": "function", "content": "Hi"}], {}, "messages[0].role"),
        ("Hi", {"response_format": {"type": "json_object"}}, "response_format"),
        ("Hi", {"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "low"}}]}], {},
         "messages[0].content[0].image_url.detail"),
    ],
)  # fmt: skip
def test_a_field_without_a_counterpart_is_refused_by_name(
    provider: AnthropicProvider, upstream: Simulator, messages: Any, parameters: dict[str, Any], where: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        provider.complete(ask(messages, **parameters))
    assert caught.value.where == where
    assert upstream.counts["requests"] == 0


def test_every_event_of_a_stream_is_passed_on(provider: AnthropicProvider) -> None:
    deltas = list(provider.stream(ask("Hello there")))
    names = [delta.event_name for delta in deltas]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert names[-2:] == ["message_delta", "message_stop"]
    assert all(delta.raw for delta in deltas)
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.input_tokens > 0


def test_sync_and_async_return_the_same(provider: AnthropicProvider) -> None:
    async def call() -> tuple[Reply, list[Delta], list[str]]:
        reply = await provider.acomplete(ask("Hello there"))
        deltas = [delta async for delta in provider.astream(ask("Hello there"))]
        names = list(await provider.alist_models())
        count = await provider.acount_on_server(ask("Hello there"))
        assert count.exact
        await provider.aclose()
        return reply, deltas, names

    reply, deltas, names = asyncio.run(call())
    assert reply.text == provider.complete(ask("Hello there")).text == join(deltas)[0]
    assert names == list(provider.list_models())


def test_the_server_counts_exactly(provider: AnthropicProvider, upstream: Simulator) -> None:
    request = ask("Hello there", temperature=0.1, tools=[TOOL])
    count = provider.count_on_server(request)
    assert upstream.requests[-1].path == "/v1/messages/count_tokens"
    assert set(get_body(upstream)) == {"model", "messages", "tools"}
    assert count.exact
    estimate = provider.count_tokens(request)
    assert not estimate.exact
    assert estimate.bound is not None
    assert count <= estimate.bound


def test_cache_reads_and_writes_are_counted_and_priced(
    provider: AnthropicProvider, upstream: Simulator
) -> None:
    from llmcore_testing import Fault

    fields: dict[str, Any] = {
        "input_tokens": 100,
        "output_tokens": 50,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens_details": {"thinking_tokens": 20},
        "service_tier": "standard",
    }
    upstream.fail(Fault.usage(**fields), times=2)
    for usage in (
        provider.complete(ask("Hello")).usage,
        list(provider.stream(ask("Hello")))[-1].usage,
    ):
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (1400, 50, 20)
        assert (usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_12h_tokens) == (
            1000,
            300,
            200,
        )
        # claude-sonnet-5: 2 input, 10 output, 0.2 read, 2.5 written, 4 written for an hour, in USD per million
        expected = Decimal(100 * 2 + 50 * 10 + 100 * Decimal("2.5") + 200 * 4 + 1000 * Decimal("0.2"))
        assert provider.price(MODEL, usage, "standard") == expected / 1_000_000


def test_unknown_models_and_tiers_have_no_price(provider: AnthropicProvider) -> None:
    usage = provider.complete(ask("Hello")).usage
    assert provider.price("claude-of-tomorrow", usage) is None
    assert provider.price(MODEL, usage, "priority") is None


def test_the_bound_is_at_least_the_count_of_the_server(provider: AnthropicProvider) -> None:
    for request in (
        ask("Hello there"),
        ask("Grüße aus Köln 你好 😀" * 20, tools=[TOOL], max_tokens=10),
        ask(
            [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
                }
            ]
        ),
    ):
        most = provider.most_usage(request)
        assert most is not None
        assert most.input_tokens >= provider.complete(request).usage.input_tokens
        assert most.output_tokens == request.parameters.get("max_tokens", 4096)
    assert most is not None
    assert most.cache_write_12h_tokens == most.input_tokens, "an hour costs the most"
    assert (
        provider.most_usage(ask("Hi", tools=[{"type": "web_search_20250305", "name": "web_search"}])) is None
    )
