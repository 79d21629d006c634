"""Counting without the network: exact where the server is known to count the same, and marked where not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmcore.types import ChatRequest
from llmcore_openai_optimized import tokens
from llmcore_openai_optimized.tokenizer import get_counter

# Recorded requests with the counts of the server. Each row names its source; all sources are MIT-licensed.
RECORDED: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent / "fixtures/token_counts.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


TEXT = {"type": "string"}


def request(messages: list[dict[str, Any]], model: str = "gpt-4o", **parameters: Any) -> ChatRequest:
    said: Any = messages
    return ChatRequest(model=model, messages=said, parameters=parameters)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def make_tool(of: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"value": of}}
    return {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": parameters}}


def nest(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"inner": of}}


def make_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_a_text_alone_is_its_tokens() -> None:
    assert tokens.count("Hello world", "gpt-4o") == 2
    assert tokens.count("", "gpt-4o") == 0


@pytest.mark.parametrize(
    ("model", "count", "exact"),
    [
        ("gpt-4o-mini", 3, True), ("gpt-4.1", 3, True), ("gpt-5.6-luna", 3, True), ("o3", 3, True),
        ("o4-mini", 3, True), ("chatgpt-4o-latest", 3, True), ("ft:gpt-4o-mini-2024-07-18:org::id", 3, True),
        ("gpt-4", 4, True), ("gpt-4-turbo", 4, True), ("gpt-3.5-turbo", 4, True), ("gpt-35-turbo", 4, True),
        ("text-embedding-3-small", 4, True), ("gpt-6-sol", 3, False), ("my-deployment", 3, False), (None, 3, False),
    ],
)  # fmt: skip
def test_each_model_has_its_encoding(model: str | None, count: int, *, exact: bool) -> None:
    counted = tokens.count("Donaudampfschiff", model)
    reference = {3: "o200k_base", 4: "cl100k_base"}[count]
    assert counted == len(get_counter(reference).load_tiktoken().encode_ordinary("Donaudampfschiff"))
    assert counted.exact is exact


def test_the_two_encodings_differ() -> None:
    text = "Donaudampfschifffahrtsgesellschaft 你好"
    assert tokens.count(text, "gpt-4") != tokens.count(text, "gpt-4o")


def test_text_like_a_special_token_is_counted_as_text() -> None:
    assert tokens.count("<|endoftext|>", "gpt-4o") > 1


@pytest.mark.parametrize(
    ("model", "messages", "total"),
    [
        ("gpt-4o", [user("Hello world")], 3 + 4 + 2),
        ("gpt-4o", [{"role": "system", "content": "Hello"}, user("Hello world")], 3 + 4 + 1 + 4 + 2),
        (
            "gpt-4o",
            [user([{"type": "text", "text": "Hello"}, {"type": "text", "text": " world"}])],
            3 + 4 + 2,
        ),
        ("gpt-4o", [user("Hello"), {"role": "assistant", "content": "Hello"}, user("Hello")], 3 + 3 * 5),
        ("gpt-5", [user("Hello world")], 2 + 4 + 2),
        ("openai/gpt-4o", [user("Hello world")], 3 + 4 + 2),
        ("o3", [user("Hello"), {"role": "assistant", "content": "Hello"}, user("Hello")], 2 + 3 * 5 + 2),
    ],
)
def test_plain_messages_are_counted_as_the_server_counts(
    model: str, messages: list[dict[str, Any]], total: int
) -> None:
    counted = tokens.count(request(messages, model))
    assert (int(counted), counted.exact) == (total, True)


@pytest.mark.parametrize(
    "asked",
    [
        request([user("Hello")], "gpt-6-sol"),
        request([user([{"type": "image_url", "image_url": {"url": "https://example.org/i.png"}}])]),
        request([{"role": "tool", "content": "7", "tool_call_id": "c"}]),
        request([{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]),
        request([user("Hello")], tools=[{"type": "custom", "custom": {"name": "add"}}]),
        request([user("Hello")], tools=[make_tool({"type": "string", "pattern": "a+"})]),
        request([{"role": "nobody", "content": "Hello"}]),
        request([{**user("Hello"), "thoughts": "none"}]),
        request([user("Hello")], prediction={"type": "content", "content": "Hi"}),
        request([user("Hello")], "gpt-5", response_format=make_format({"type": "object"})),
        request([user("Hello")], response_format=make_format({"type": "object", "description": "a " * 2000})),
        request([user("Hello")], tools=[make_tool({"anyOf": [{"type": "string"}, {"type": "null"}]})]),
        request([user("Hello")], tools=[make_tool({"type": "string", "default": None})]),
        request([user("Hello")], tools=[make_tool({"type": "integer", "enum": [1, 2]})]),
        request([user("Hello")], tools=[make_tool({"type": ["string", "null"]})]),
        request([user("Hello")], tools=[make_tool(nest(nest({"type": "string"})))]),
        request([user("Hello")], tools=[make_tool({"type": "object", "additionalProperties": {"type": "string"}})]),
        request([user("Hello")], tools=[make_tool({"type": "string", "nullable": True})]),
        request([user("Hello")], "gpt-5.4", tools=[make_tool({"type": "string"})]),
        request([user("Hello"), {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}]),
        request([user("Hello"), {"role": "assistant", "content": "Hi"}, user("Hello")], "o3-mini"),
        request([user("Hello")], tools=[make_tool({"type": "object", "properties": {"a": TEXT, "b": TEXT}})]),
        request([user("Hello")], "openai/gpt-4o", tools=[make_tool({"type": "string"})]),
        request([user("Hello")], "openai/gpt-4o", response_format=make_format({"type": "object"})),
        {"model": "o3", "input": "Hello", "tools": [{"type": "function", "name": "add"}]},
    ],
    ids=[
        "model", "image", "result", "call", "custom tool", "schema", "role", "key", "prediction", "form", "long form",
        "union", "null", "numbers", "types", "deep", "open", "keyword", "tools of gpt-5.4", "refusal", "replies of o3-mini",
        "object in a line", "gateway", "form of a gateway", "tools of o3",
    ],
)  # fmt: skip
def test_an_uncertain_count_is_an_estimate_with_a_bound(asked: ChatRequest) -> None:
    counted = tokens.count(asked)
    assert counted > 0
    assert not counted.exact
    assert counted.bound is not None
    assert counted.bound >= counted


def test_an_unbounded_request_is_an_estimate_without_a_bound() -> None:
    counted = tokens.count({"model": "gpt-5", "input": "Hello", "previous_response_id": "resp_1"})
    assert (counted.exact, counted.bound) == (False, None)


def test_an_exact_count_is_its_own_bound() -> None:
    assert tokens.count("Hello world", "gpt-4o").bound == 2
    assert tokens.count(request([user("Hello world")])).bound == 9


def test_a_name_costs_its_own_tokens() -> None:
    plain, named = (
        tokens.count(request([user("Hello")])),
        tokens.count(request([{**user("Hello"), "name": "ada"}])),
    )
    assert named - plain == tokens.count("ada", "gpt-4o")
    assert named.exact


def test_a_body_of_responses_is_counted_by_its_own_rules() -> None:
    chat: Any = {"model": "gpt-4o", "messages": [user("Hello")], "tools": [make_tool({"type": "string"})]}
    body = {
        "model": "gpt-4o",
        "input": [user("Hello")],
        "tools": [{"type": "function", **chat["tools"][0]["function"]}],
    }
    counted = tokens.count(body)
    assert counted.exact
    assert counted < tokens.count(chat), "there is no heading"
    assert tokens.count({"model": "gpt-4o", "input": "Hello"}) == tokens.count(request([user("Hello")]))


@pytest.mark.parametrize(
    "row", RECORDED, ids=lambda row: f"{row['category']} {row['source'].partition('/')[2]}"
)
def test_recorded_requests_are_counted_as_their_servers_counted(row: dict[str, Any]) -> None:
    counted = tokens.count(row["request"])
    assert counted.exact is row["exact"]
    if row["exact"]:
        assert counted == row["input_tokens"]
    elif counted.bound is not None:
        assert counted.bound >= row["input_tokens"]


def test_parts_of_a_result_are_joined() -> None:
    """Some 400 recorded results come in parts, and cost what their text costs in one."""
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    before = [user("Hello"), {"role": "assistant", "content": None, "tool_calls": [call]}]
    texts = ["found 2 chunks:\n", "[1] id: file", "-15684 ", "\n", ""]
    whole, parts = (
        tokens.count(request([*before, {"role": "tool", "tool_call_id": "c", "content": content}]))
        for content in ("".join(texts), [{"type": "text", "text": text} for text in texts])
    )
    assert (int(parts), parts.exact) == (int(whole), True)


@pytest.mark.parametrize("tools", [[], None])
def test_no_tools_cost_nothing(tools: Any) -> None:
    """Since April 2025; in the weeks before, Responses counted 18 tokens more for every request."""
    chat, body = request([user("Hello world")], tools=tools), {"model": "gpt-4o", "input": "Hello world"}
    for counted in (tokens.count(chat), tokens.count(body | {"tools": tools})):
        assert (int(counted), counted.exact) == (9, True)


def test_an_earlier_reply_costs_the_name_of_the_schema() -> None:
    """The first is recorded (0xPlaygrounds/rig, MIT): 82 tokens by gpt-4o-2024-08-06."""
    schema = {
        "additionalProperties": False,
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
        "type": "object",
    }
    said = [
        user("Write malware that encrypts a hospital's files and demands a ransom."),
        {
            "role": "assistant",
            "content": [{"text": "I'm very sorry, but I can't assist with that.", "type": "text"}],
        },
        user("Name one common tree species. Answer in the schema."),
    ]
    wanted = {"json_schema": {"name": "answer", "schema": schema, "strict": True}, "type": "json_schema"}
    counted = tokens.count(request(said, response_format=wanted))
    assert (int(counted), counted.exact) == (82, False)


def test_json_mode_costs_nothing() -> None:
    counted = tokens.count(request([user("Hello world")], response_format={"type": "json_object"}, seed=7))
    assert (int(counted), counted.exact) == (9, True)


def test_tools_raise_the_estimate() -> None:
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds two numbers"}}]
    assert tokens.count(request([user("Hello")], tools=tools)) > tokens.count(request([user("Hello")]))


def test_messages_without_a_model_are_an_estimate() -> None:
    messages: Any = [user("Hello world")]
    assert (int(tokens.count(messages)), tokens.count(messages).exact) == (9, False)
    assert tokens.count(messages, "gpt-4o").exact


def test_half_a_character_is_counted_too() -> None:
    assert tokens.count("a\ud800b", "gpt-4o") >= 3


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from llmcore_openai_optimized import tokens\n"
        "print(int(tokens.count('Hello world', 'gpt-4o')), int(tokens.count('Hello world', 'gpt-4')))"
    )
    environment = {"TIKTOKEN_CACHE_DIR": str(tmp_path / "empty"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["2", "2"]
    assert list(tmp_path.iterdir()) == []


def test_a_first_count_of_messages_imports_little() -> None:
    program = (
        "import sys\n"
        "from llmcore_openai_optimized import tokens\n"
        "said = [{'role': 'user', 'content': 'Hello world'}]\n"
        "print(int(tokens.count(said, 'gpt-4o')), *({'msgspec', 'tiktoken', 'regex', 'llmcore.types'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["9"]
