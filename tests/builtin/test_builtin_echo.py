"""`echo` passes the conformance kit of language models and follows its documented rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from llmcore.builtin.echo import EchoProvider
from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Reply, Usage
from llmcore_testing.conformance import LLMConformance


class TestEcho(LLMConformance):
    lacks = ("count_on_server", "submit", "list_batches", "batch_limits", "broken")

    @pytest.fixture
    def provider(self) -> EchoProvider:
        return EchoProvider()

    @pytest.fixture
    def canary(self) -> str:
        return "sk-of-no-account"


def ask(content: Any, **parameters: Any) -> Reply:
    messages: Any = [{"role": "user", "content": content}] if isinstance(content, str) else content
    return EchoProvider().complete(ChatRequest(model="echo", messages=messages, parameters=parameters))


def test_it_repeats_the_last_user_message() -> None:
    reply = ask(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "First."},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Write a haiku about rain"},
        ]
    )
    assert reply.text == "You said: Write a haiku about rain"
    assert (reply.provider, reply.model, reply.finish_reason) == ("echo", "echo", "stop")


def test_parts_are_repeated_in_order_and_images_are_named() -> None:
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "?"},
    ]
    assert ask([{"role": "user", "content": parts}]).text == "You said: See [image_url] ?"


def test_words_numbers_and_marks_are_tokens_and_each_message_adds_three() -> None:
    count = EchoProvider().count_tokens
    assert count("Hello, world 42!") == 5
    assert count([{"role": "user", "content": "Hello, world 42!"}]) == 8
    assert count("").exact
    assert ask("Hello, world 42!").usage == Usage(input_tokens=8, output_tokens=8)


def test_max_tokens_cuts_between_tokens() -> None:
    reply = ask("one two three", max_tokens=4)
    assert (reply.text, reply.finish_reason, reply.usage.output_tokens) == ("You said: one", "length", 4)
    assert ask("one two three", max_tokens=6).finish_reason == "stop"


@pytest.mark.parametrize(("stop", "text"), [("two", "You said: one "), (["x", "said"], "You "), ([], "You said: one two"), (None, "You said: one two")])  # fmt: skip
def test_the_answer_ends_before_a_stop_sequence(stop: Any, text: str) -> None:
    reply = ask("one two", stop=stop)
    assert (reply.text, reply.finish_reason) == (text, "stop")


@pytest.mark.parametrize("limit", [0, -1, 1.5, "10", True])
def test_an_invalid_max_tokens_is_refused(limit: Any) -> None:
    with pytest.raises(BadRequest, match="a whole number above 0"):
        ask("Hello", max_tokens=limit)


TOOLS = [
    {"type": "function", "function": {"name": "now"}},
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            },
        },
    },
]


def test_a_required_call_has_arguments_that_fit_the_schema() -> None:
    reply = ask("Oslo", tools=TOOLS, tool_choice={"type": "function", "function": {"name": "weather"}})
    (call,) = reply.tool_calls
    assert (call.name, msgspec.json.decode(call.arguments)) == ("weather", {"city": "Oslo", "days": 2})
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")
    assert ask("Oslo", tools=TOOLS, tool_choice="required").tool_calls[0].name == "now"
    assert ask("Oslo", tools=TOOLS, tool_choice="auto").tool_calls == ()


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "other"}}, {"type": "function"}])  # fmt: skip
def test_a_required_call_without_a_matching_tool_is_refused(choice: Any) -> None:
    with pytest.raises(BadRequest):
        ask("Hello", tools=TOOLS if isinstance(choice, dict) else [], tool_choice=choice)


def test_a_json_format_gets_json() -> None:
    assert msgspec.json.decode(ask("Hi", response_format={"type": "json_object"}).text) == {"echo": "Hi"}


def test_the_body_is_a_chat_completion() -> None:
    reply = ask("Hi")
    raw = reply.raw
    assert raw["object"] == "chat.completion"
    assert raw["id"] == reply.request_id
    assert raw["choices"][0]["message"] == {"role": "assistant", "content": "You said: Hi"}
    assert raw["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}
    assert ask("Oslo", tools=TOOLS, tool_choice="required").raw["choices"][0]["message"]["content"] is None


def test_a_stream_has_the_tool_call_and_the_complete_body() -> None:
    parameters = {"tools": TOOLS, "tool_choice": "required"}
    request = ChatRequest(model="echo", messages=[{"role": "user", "content": "Oslo"}], parameters=parameters)
    deltas = list(EchoProvider().stream(request))
    reply = EchoProvider().complete(request)
    assert [call for delta in deltas for call in delta.tool_calls] == list(reply.tool_calls)
    assert (deltas[-1].body, deltas[-1].finish_reason) == (reply.body, "tool_calls")


def test_it_costs_nothing_and_lists_itself() -> None:
    assert EchoProvider().price("echo", Usage(input_tokens=10**9)) == Decimal(0)
    assert EchoProvider().list_models() == ["echo"]
