"""Counting without the network: exact where the server is known to count the same, and marked where not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import PluginBroken
from llmcore.types import ChatRequest
from llmcore_openai_optimized import _ranks, tokens


def request(messages: list[dict[str, Any]], model: str = "gpt-4o", **parameters: Any) -> ChatRequest:
    said: Any = messages
    return ChatRequest(model=model, messages=said, parameters=parameters)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


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
    assert counted == len(_ranks.encoding(reference).encode_ordinary("Donaudampfschiff"))
    assert counted.exact is exact


def test_the_two_encodings_differ() -> None:
    text = "Donaudampfschifffahrtsgesellschaft 你好"
    assert tokens.count(text, "gpt-4") != tokens.count(text, "gpt-4o")


def test_what_looks_like_a_special_token_is_ordinary_text() -> None:
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
        request([{**user("Hello"), "name": "ada"}]),
        request([user([{"type": "image_url", "image_url": {"url": "https://example.org/i.png"}}])]),
        request([{"role": "tool", "content": "7", "tool_call_id": "c"}]),
        request([{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]),
        request([user("Hello")], tools=[{"type": "function", "function": {"name": "add"}}]),
        request([user("Hello")], response_format={"type": "json_schema", "json_schema": {"name": "a"}}),
        request([]),
    ],
    ids=["model", "name", "image", "tool result", "tool call", "tools", "schema", "nothing"],
)
def test_what_the_server_may_count_otherwise_is_an_estimate(asked: ChatRequest) -> None:
    counted = tokens.count(asked)
    assert counted > 0
    if asked.messages:
        assert not counted.exact


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


@given(st.text())
def test_any_text_is_counted_and_comes_back_whole(text: str) -> None:
    for name in ("o200k_base", "cl100k_base"):
        encoding = _ranks.encoding(name)
        assert encoding.decode(encoding.encode_ordinary(text)) == text


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


def test_a_damaged_table_is_told_and_not_counted_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ranks, "_built", {})
    monkeypatch.setitem(_ranks._SHA256, "o200k_base", "0" * 64)
    with pytest.raises(PluginBroken, match="missing or damaged"):
        tokens.count("Hello", "gpt-4o")
