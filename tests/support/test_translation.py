"""Requests are translated between three APIs and back, and a field without a counterpart is refused by its name."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import BadRequest
from llmcore.support.translation import translate_body

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAME, inner, max_size=2),
    max_leaves=4,
)
OBJECT = st.dictionaries(NAME, JSON, max_size=3)
SCHEMA = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(NAME, st.just({"type": "string"}))}
)
URL = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo="])
PDF = "data:application/pdf;base64,JVBERi0xLjQ="


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return dicts with any of the *fields*."""
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    """Return a body of Chat Completions with what all three APIs have."""
    text = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT})
    image = st.fixed_dictionaries(
        {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": URL})}
    )
    file = st.just({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}})
    user = TEXT | st.lists(text | image | file, min_size=1, max_size=3)
    messages: list[dict[str, Any]] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(TEXT | st.lists(text, min_size=1, max_size=2))})
    for number in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(user)})
        calls = [
            {
                "id": f"call_{number}_{i}",
                "type": "function",
                "function": {"name": draw(NAME), "arguments": draw(OBJECT.map(pack))},
            }
            for i in range(draw(st.integers(0, 2)))
        ]
        if calls:
            messages.append({"role": "assistant", "content": draw(st.none() | TEXT), "tool_calls": calls})
            for call in calls:
                content = draw(TEXT | st.lists(text, min_size=1, max_size=2))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        elif draw(st.booleans()):
            messages.append(
                {"role": "assistant", "content": draw(TEXT | st.lists(text, min_size=1, max_size=2))}
            )
    function = st.fixed_dictionaries(
        {"name": NAME, "parameters": SCHEMA}, optional={"description": TEXT, "strict": st.just(value=True)}
    )
    schema = st.fixed_dictionaries(
        {"name": st.sampled_from(["answer", "city"]), "schema": SCHEMA, "strict": st.just(value=True)}
    )
    parameters = some(
        max_completion_tokens=st.integers(1, 9999),
        temperature=st.sampled_from([0, 0.5, 1]),
        top_p=st.sampled_from([0.1, 1]),
        user=TEXT,
        service_tier=st.sampled_from(["auto", "default"]),
        reasoning_effort=st.sampled_from(["none", "low", "medium", "high"]),
        response_format=schema.map(lambda inner: {"type": "json_schema", "json_schema": inner}),
    )
    body = {"messages": messages, **draw(parameters)}
    if draw(st.booleans()):
        body["tools"] = draw(
            st.lists(
                function.map(lambda each: {"type": "function", "function": each}), min_size=1, max_size=2
            )
        )
        named = {"type": "function", "function": {"name": body["tools"][0]["function"]["name"]}}
        body["tool_choice"] = draw(st.sampled_from(["auto", "required", named]))
        if draw(st.booleans()):
            body["parallel_tool_calls"] = False
    return body


def pack(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.slow
@pytest.mark.parametrize("other", ["responses", "messages"])
@given(body=chats())
def test_a_chat_comes_back_as_it_was(other: str, body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    there = translate_body(body, "chat", other)
    assert translate_body(there, other, "chat") == body
    assert body == before, "the request was changed"


@pytest.mark.slow
@pytest.mark.parametrize(("source", "other"), [("responses", "chat"), ("responses", "messages"), ("messages", "chat"), ("messages", "responses")])  # fmt: skip
@given(chat=chats())
def test_requests_of_the_other_apis_come_back_as_they_were(
    source: str, other: str, chat: dict[str, Any]
) -> None:
    body = translate_body(chat, "chat", source)
    assert translate_body(translate_body(body, source, other), other, source) == body


@pytest.mark.slow
@given(chat=chats())
def test_every_text_of_a_request_arrives(chat: dict[str, Any]) -> None:
    for target in ("responses", "messages"):
        sent = pack(translate_body(chat, "chat", target))
        for message in chat["messages"]:
            content = message["content"] or ""
            for part in [content] if isinstance(content, str) else content:
                text = part if isinstance(part, str) else part.get("text", "")
                assert pack(text)[1:-1] in sent


USER = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "add"}}


def block(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [fields]}]


REFUSED = [
    ("chat", "messages", {"seed": 1}, "seed"),
    ("chat", "responses", {"seed": 1}, "seed"),
    ("chat", "responses", {"stop": "x"}, "stop"),
    ("chat", "messages", {"n": 2}, "n"),
    ("chat", "messages", {"logprobs": True}, "logprobs"),
    ("chat", "messages", {"frequency_penalty": 1}, "frequency_penalty"),
    ("chat", "messages", {"verbosity": "low"}, "verbosity"),
    ("chat", "messages", {"metadata": {"a": "b"}}, "metadata"),
    ("chat", "messages", {"store": True}, "store"),
    ("chat", "messages", {"service_tier": "flex"}, "service_tier"),
    ("chat", "messages", {"reasoning_effort": "minimal"}, "reasoning_effort"),
    ("chat", "messages", {"response_format": {"type": "json_object"}}, "response_format"),
    ("chat", "messages", {"made_up": 1}, "made_up"),
    ("chat", "messages", {"effort": "low"}, "effort"),
    ("messages", "chat", {"stop": ["x"]}, "stop"),
    ("messages", "chat", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}, "caller": {"type": "code_execution_20250825"}}]}]}, "messages[0].content[0].caller"),
    ("responses", "chat", {"max_tokens": 5}, "max_tokens"),
    ("chat", "messages", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ("chat", "messages", {"tools": [{**TOOL, "cache_control": {}}]}, "tools[0].cache_control"),
    ("chat", "messages", {"tool_choice": {"type": "custom"}}, "tool_choice.type"),
    ("chat", "messages", {"messages": [{"role": "user", "content": "x", "name": "ann"}]}, "messages[0].name"),
    ("chat", "messages", {"messages": block(type="input_audio", input_audio={})}, "messages[0].content[0].type"),
    ("chat", "messages", {"messages": block(type="image_url", image_url={"url": PDF, "detail": "high"})}, "messages[0].detail"),
    ("chat", "messages", {"messages": [*USER, {"role": "system", "content": "x"}]}, "messages[1].role"),
    ("chat", "messages", {"messages": [*USER, {"role": "function", "content": "x"}]}, "messages[1].role"),
    ("chat", "messages", {"messages": [{"role": "assistant", "content": None, "refusal": "No"}]}, "messages[0].refusal"),
    ("messages", "chat", {"top_k": 5}, "top_k"),
    ("messages", "chat", {"thinking": {"type": "enabled"}}, "thinking"),
    ("messages", "chat", {"thinking": {"type": "adaptive"}}, "thinking"),
    ("messages", "chat", {"thinking": {"type": "interleaved", "budget_tokens": 2000}}, "thinking"),
    ("messages", "chat", {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}}, "thinking.display"),
    ("messages", "chat", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"effort": "high"}}, "output_config.effort"),
    ("messages", "chat", {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "output_config.effort"),
    ("messages", "chat", {"messages": [{**USER[0], "cache_control": {}}]}, "messages[0].cache_control"),
    ("messages", "chat", {"metadata": {"user_id": "a", "team": "b"}}, "metadata.team"),
    ("messages", "responses", {"stop_sequences": ["x"]}, "stop_sequences"),
    ("messages", "chat", {"output_config": {"task_budget": 1}}, "output_config.task_budget"),
    ("messages", "chat", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ("messages", "chat", {"messages": block(type="search_result")}, "messages[0].content[0].type"),
    ("messages", "chat", {"messages": block(type="image", source={"type": "file", "file_id": "f"})}, "messages[0].content[0].source.type"),
    ("messages", "chat", {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}]}]}, "messages[0].content[0].signature"),
    ("messages", "responses", {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}]}]}, "messages[0]"),
    ("messages", "chat", {"messages": block(type="document", source={"type": "url", "url": "https://example.com/a.pdf"})}, "messages[0]"),
    ("responses", "chat", {"previous_response_id": "r"}, "previous_response_id"),
    ("responses", "messages", {"background": True}, "background"),
    ("responses", "chat", {"include": ["web_search_call.results"]}, "include"),
    ("responses", "chat", {"truncation": "auto"}, "truncation"),
    ("responses", "chat", {"reasoning": {"effort": "low", "summary": "auto"}}, "reasoning.summary"),
    ("responses", "chat", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ("responses", "chat", {"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type"),
    ("responses", "chat", {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}, "input[0].encrypted_content"),
    ("responses", "chat", {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
]  # fmt: skip
LEAST: dict[str, dict[str, Any]] = {
    "chat": {"messages": USER},
    "messages": {"messages": USER},
    "responses": {"input": "Hi"},
}


@pytest.mark.parametrize(
    ("source", "target", "fields", "where"), REFUSED, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_field_without_a_counterpart_is_refused_by_its_name(
    source: str, target: str, fields: dict[str, Any], where: str
) -> None:
    assert translate_body(LEAST[source], source, target)
    with pytest.raises(BadRequest) as caught:
        translate_body({**LEAST[source], **fields}, source, target)
    assert caught.value.where == where
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("chat", {"messages": "Hi"}), ("chat", {"messages": ["Hi"]}), ("chat", {"tools": "x"}), ("chat", {"tools": [1]}),
        ("chat", {"response_format": "json"}), ("chat", {"tool_choice": 3}), ("chat", {"messages": [{"role": "tool", "content": "x"}]}),
        ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": "f"}]}]}),
        ("chat", {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]}]}),
        ("messages", {"messages": [{"role": "user", "content": None}]}), ("messages", {"system": 3}), ("messages", {"metadata": "x"}),
        ("responses", {"input": 3}), ("responses", {"input": ["x"]}), ("responses", {"text": "x"}), ("responses", {"instructions": 3}),
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused(source: str, fields: dict[str, Any]) -> None:
    target = "chat" if source == "messages" else "messages"
    with pytest.raises(BadRequest) as caught:
        translate_body({**LEAST[source], **fields}, source, target)
    assert caught.value.where


def test_what_a_client_sends_back_of_a_translated_answer_is_accepted() -> None:
    thought = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "2"}],
    }
    chat = translate_body({"messages": [*USER, thought, *USER]}, "messages", "chat")
    assert chat["messages"][1] == {"role": "assistant", "content": "2", "reasoning_content": "hm"}
    call = {"type": "tool_use", "id": "a", "name": "b", "input": {}, "caller": {"type": "direct"}}
    assert translate_body({"messages": [{"role": "assistant", "content": [call]}]}, "messages", "chat")
    assert translate_body(chat, "chat", "messages")["messages"][1] == thought
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
         "content": [{"type": "output_text", "text": "2", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "status": "completed", "call_id": "c", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
    ]  # fmt: skip
    assert translate_body({"input": items}, "responses", "chat")["messages"] == [
        {
            "role": "assistant",
            "content": "2",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "3"},
    ]


CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize("target", ["chat", "responses"])
def test_cache_control_changes_nothing_in_the_translated_request(target: str) -> None:
    def make(mark: dict[str, Any]) -> dict[str, Any]:
        return {
            **mark,
            "system": [{"type": "text", "text": "Be brief", **mark}],
            "tools": [{"name": "add", "input_schema": {"type": "object"}, **mark}],
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Add", **mark},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}, **mark},
                    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, **mark},
                ]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "add", "input": {}, **mark}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "3", **mark}], **mark}
                ]},
            ],
        }  # fmt: skip

    assert translate_body(make(CACHED), "messages", target) == translate_body(make({}), "messages", target)
    assert "cache_control" not in json.dumps(translate_body(make(CACHED), "messages", target))


@pytest.mark.parametrize("target", ["chat", "responses"])
def test_instructions_within_the_messages_keep_their_place(target: str) -> None:
    """Claude Code sends such messages."""
    messages = [*USER, {"role": "system", "content": "Be brief"}, {"role": "assistant", "content": "Yes"}]
    body = translate_body({"messages": messages}, "messages", target)
    roles = [each["role"] for each in body["messages" if target == "chat" else "input"]]
    assert roles == ["user", "system", "assistant"]


@pytest.mark.parametrize(
    ("source", "target", "fields"),
    [
        ("messages", "chat", {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}),
        ("responses", "chat", {"client_metadata": {"session": "1"}}),
        ("responses", "messages", {"prompt_cache_key": "a"}),
        ("chat", "messages", {"prompt_cache_retention": "24h"}),
    ],
)  # fmt: skip
def test_a_field_that_changes_no_answer_is_left_out(source: str, target: str, fields: dict[str, Any]) -> None:
    assert translate_body({**LEAST[source], **fields}, source, target) == translate_body(
        LEAST[source], source, target
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("no such file", "Error: no such file"),
        (None, "Error: "),
        ([{"type": "text", "text": "no such file"}], [{"type": "text", "text": "Error: "}, {"type": "text", "text": "no such file"}]),
    ],
)  # fmt: skip
def test_the_text_of_a_failed_tool_says_that_it_failed(content: Any, text: Any) -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": content, "is_error": True}
    chat = translate_body({"messages": [{"role": "user", "content": [result]}]}, "messages", "chat")
    assert chat["messages"] == [{"role": "tool", "tool_call_id": "a", "content": text}]


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}, "output_config": {"effort": "high"}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
    ],
)  # fmt: skip
def test_thinking_becomes_the_effort_of_the_reasoning(fields: dict[str, Any], effort: str) -> None:
    body = {"messages": USER, **fields}
    assert translate_body(body, "messages", "chat")["reasoning_effort"] == effort
    assert translate_body(body, "messages", "responses")["reasoning"] == {"effort": effort}


def test_two_answers_in_a_row_stay_two_messages() -> None:
    said = [{"role": "assistant", "content": text} for text in ("one", "two")]
    assert translate_body({"input": said}, "responses", "chat")["messages"] == said
    assert translate_body({"input": said}, "responses", "messages")["messages"] == said
