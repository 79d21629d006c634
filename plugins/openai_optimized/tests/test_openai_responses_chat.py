"""A chat with a model that only answers in the Responses API is translated, in sync and async, whole and streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmcore
from llmcore.errors import BadRequest
from llmcore.types import Delta, Reply
from llmcore_testing.simulator import Simulator

MODEL = "gpt-5-pro"
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
TALK: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Add"}, {"type": "image_url", "image_url": {"url": "https://a/b.png"}}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "2"},
    {"role": "assistant", "content": [{"type": "text", "text": "It is 2."}]},
    {"role": "user", "content": "Thank you"},
]  # fmt: skip

Chat = Callable[..., Reply]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator) -> Iterator[llmcore.Core]:
    openai = {"api_key": "sk-test", "base_url": upstream.base_url}
    with llmcore.load(
        {"llm": {"provider": "openai", "model": MODEL, "openai": openai}, "cache": {"provider": "memory"}}
    ) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chat(core: llmcore.Core, way: str) -> Chat:
    if way == "sync":
        return core.llm.chat
    return lambda *args, **given: asyncio.run(core.llm.achat(*args, **given))


@pytest.fixture
def stream(core: llmcore.Core, way: str) -> Callable[..., list[Delta]]:
    async def collect(*args: Any, **given: Any) -> list[Delta]:
        return [delta async for delta in core.llm.astream(*args, **given)]

    if way == "sync":
        return lambda *args, **given: list(core.llm.stream(*args, **given))
    return lambda *args, **given: asyncio.run(collect(*args, **given))


def test_messages_and_parameters_are_translated(chat: Chat, upstream: Simulator) -> None:
    schema = {"name": "sum", "schema": {"type": "object"}, "strict": True}
    reply = chat(
        TALK,
        max_tokens=50,
        reasoning_effort="high",
        tools=[TOOL],
        response_format={"type": "json_schema", "json_schema": schema},
        verbosity="low",
    )
    request = upstream.requests[-1]
    assert request.path == "/v1/responses"
    assert request.body == {
        "model": MODEL,
        "input": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Add"},
                    {"type": "input_image", "image_url": "https://a/b.png"},
                ],
            },
            {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "2"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "It is 2."}]},
            {"role": "user", "content": "Thank you"},
        ],
        "max_output_tokens": 50,
        "reasoning": {"effort": "high"},
        "tools": [{"type": "function", **TOOL["function"], "strict": False}],  # type: ignore[dict-item]
        "text": {"format": {"type": "json_schema", **schema}, "verbosity": "low"},
    }
    assert json.loads(reply.text) is not None
    assert reply.cost is not None


def test_a_streamed_chat_is_translated_and_shares_its_entry(
    stream: Callable[..., list[Delta]], chat: Chat, upstream: Simulator
) -> None:
    deltas = stream("Tell me of rain")
    assert len(deltas) > 2
    assert all(delta.raw is None for delta in deltas)
    assert deltas[-1].finish_reason == "stop"
    reply = chat("Tell me of rain")
    assert (reply.cached, reply.text) == (True, "".join(delta.text for delta in deltas))
    assert len(upstream.requests) == 1


def test_a_required_call_comes_back_as_a_call(chat: Chat) -> None:
    reply = chat("Add", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "add"}})
    (call,) = reply.tool_calls
    assert (call.name, reply.finish_reason) == ("add", "tool_calls")


def test_a_body_of_a_chat_is_answered_in_its_format(core: llmcore.Core, upstream: Simulator) -> None:
    body = {"messages": [{"role": "user", "content": "Tell me of rain"}]}
    for _ in range(2):
        reply = core.llm.send(body)
        assert reply.raw["choices"][0]["message"]["content"] == reply.text
    for _ in range(2):
        events = list(core.llm.send_stream(body, cache_namespace="streams"))
        chunks = [json.loads(event.data) for event in events[:-1]]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
        assert "".join(texts) == reply.text
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"seed": 1}, "`seed`"),
        ({"n": 2}, "`n`"),
        ({"stop": ["."]}, "`stop`"),
        ({"logprobs": True}, "`logprobs`"),
    ],
)
def test_untranslatable_parameters_are_rejected_by_name(
    chat: Chat, upstream: Simulator, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        chat("Hello", **parameters)
    audio = [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]
    with pytest.raises(BadRequest, match="`input_audio`"):
        chat([{"role": "user", "content": audio}])
    assert upstream.requests == []


def test_other_models_answer_as_a_chat(chat: Chat, upstream: Simulator) -> None:
    chat("Hello", model="gpt-5.6-luna")
    assert upstream.requests[-1].path == "/v1/chat/completions"
