"""The bound without a tokenizer: never below a count, and None for unbounded requests."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.types import ChatRequest
from llmcore_openai_optimized.counting import bound
from llmcore_openai_optimized.counting.body_parser import parse_request
from llmcore_openai_optimized.counting.counts import count_prompt
from llmcore_openai_optimized.counting.models import get_family
from llmcore_openai_optimized.tokenizer import get_counter
from llmcore_openai_optimized.tokens import count

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("\n 0aé字"), max_size=30)
KEYS = [
    "type", "role", "content", "text", "image_url", "url", "detail", "tool_calls", "function", "name", "arguments", "id",
    "call_id", "output", "parameters", "properties", "items", "enum", "anyOf", "$ref", "required", "description", "title",
    "default", "schema", "format", "json_schema", "encrypted_content", "refusal", "file", "allOf",
]  # fmt: skip
BODY_KEYS = [
    "model", "messages", "input", "instructions", "tools", "functions", "tool_choice", "response_format", "text",
    "reasoning", "audio", "prediction", "function_call",
]  # fmt: skip
NAMES = st.text("abc_xyz", min_size=1, max_size=12)
LEAVES = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "null", "array", ["string", "null"]])},
    optional={
        "description": TEXTS, "title": TEXTS, "default": TEXTS | st.none() | st.integers(),
        "enum": st.lists(TEXTS, min_size=1, max_size=4),
    },
)  # fmt: skip
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(NAMES, inner, max_size=4),
                "required": st.lists(NAMES),
            }
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"description": TEXTS})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
        | st.just({"$ref": "#/properties/abc"})
    ),
    max_leaves=8,
)
FUNCTIONS = st.fixed_dictionaries({"name": NAMES}, optional={"description": TEXTS, "parameters": SCHEMAS})
CALLS = st.fixed_dictionaries(
    {
        "id": NAMES,
        "function": st.fixed_dictionaries({"name": NAMES, "arguments": TEXTS | st.just('{"a": 1e9}')}),
    }
)
MESSAGES = (
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXTS}, optional={"name": NAMES}
    )
    | st.fixed_dictionaries(
        {"role": st.just("assistant"), "tool_calls": st.lists(CALLS, min_size=1, max_size=4)},
        optional={"name": TEXTS},
    )
    | st.fixed_dictionaries({"role": st.just("tool"), "content": TEXTS, "tool_call_id": NAMES})
)
FORMATS = st.fixed_dictionaries({"name": NAMES, "schema": SCHEMAS}, optional={"description": TEXTS})
CHATS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-4", "gpt-4o", "gpt-4.1-mini", "o3", "gpt-5.4", "gpt-6-sol", "mine"]),
        "messages": st.lists(MESSAGES, min_size=1, max_size=5),
    },
    optional={
        "tools": st.lists(FUNCTIONS.map(lambda one: {"type": "function", "function": one}), max_size=4),
        "tool_choice": st.sampled_from(["auto", "required", "none", {"function": {"name": "abc_xyz"}}]),
        "response_format": FORMATS.map(lambda one: {"type": "json_schema", "json_schema": one}),
    },
)


def convert_to_responses(chat: dict[str, Any]) -> dict[str, Any]:
    """Return the same request in the shape of Responses."""
    items: list[dict[str, Any]] = []
    for message in chat["messages"]:
        if "tool_calls" in message:
            items += [
                {"type": "function_call", "call_id": call["id"], **call["function"]}
                for call in message["tool_calls"]
            ]
        elif message["role"] == "tool":
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": message["tool_call_id"],
                    "output": message["content"],
                }
            )
        else:
            items.append({"type": "message", **message})
    body = {"model": chat["model"], "input": items}
    if "tools" in chat:
        body["tools"] = [{"type": "function", **tool["function"]} for tool in chat["tools"]]
    if "response_format" in chat:
        body["text"] = {"format": {"type": "json_schema", **chat["response_format"]["json_schema"]}}
    return body


def count_body(body: dict[str, Any]) -> int:
    kind = get_family(body["model"])
    return count_prompt(parse_request(body), kind, get_counter(kind.encoding).count)


@settings(deadline=None)  # the first count of a process loads a table
@given(CHATS)
def test_the_bound_is_never_below_the_count(chat: dict[str, Any]) -> None:
    for body in (chat, convert_to_responses(chat)):
        most = bound(body)
        assert most is not None
        assert most >= count_body(body)


def test_a_request_has_the_bound_of_its_body() -> None:
    messages: Any = [{"role": "user", "content": "Hello"}]
    request = ChatRequest(
        model="gpt-4o", messages=messages, parameters={"tools": [{"function": {"name": "add"}}]}
    )
    assert bound(request) == bound(request.body())


@pytest.mark.parametrize(
    "body",
    [
        {"input": "Hello", "previous_response_id": "resp_1"},
        {"input": "Hello", "tools": [{"type": "web_search"}]},
        {"input": "Hello", "reasoning": {"mode": "pro"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
        {"messages": [{"role": "user", "content": "Hello"}], "web_search_options": {}},
    ],
    ids=["memory", "search", "pro", "reference", "file", "search of chat"],
)
def test_an_unbounded_request_has_no_bound(body: dict[str, Any]) -> None:
    assert bound({"model": "gpt-5", **body}) is None


def test_a_picture_of_an_address_is_bounded_by_the_dearest() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.org/i.png"}}
    most = bound({"model": "gpt-4o", "messages": [{"role": "user", "content": [part]}]})
    assert most is not None
    assert 85 + 8 * 170 <= most < 2000


def test_schemas_that_multiply_without_end_have_no_bound_and_take_no_time() -> None:
    properties = {f"p{i}": {"$ref": "#/$defs/a"} for i in range(30)}
    schema = {
        "type": "object",
        "properties": properties,
        "$defs": {"a": {"type": "object", "properties": properties}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert bound({"model": "gpt-4o", "messages": [], "tools": [tool]}) is None


def test_no_tokenizer_is_loaded_for_a_bound() -> None:
    program = (
        "import sys\n"
        "from llmcore_openai_optimized.counting import bound\n"
        "bound({'model': 'gpt-4o', 'messages': [{'role': 'user', 'content': 'Hello'}]})\n"
        "print(sorted({'tiktoken', 'regex', 'openai', 'lzma', 'mmap'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | NAMES, inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(st.sampled_from(BODY_KEYS), ANYTHING))
def test_a_body_that_holds_anything_is_counted_and_bounded(body: dict[str, Any]) -> None:
    count_body = count(body, "gpt-4o")
    most = bound(body)
    assert count_body >= 0
    assert most is None or most >= count_body
    assert count_body.bound is None or count_body.bound >= count_body
