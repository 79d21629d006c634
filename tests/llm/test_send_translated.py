"""Requests of every API on providers of every API: whole, streamed, shared, cached, counted and refused, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

import llmcore
from llmcore import Reply, WireEvent
from llmcore.errors import BadRequest, ProviderError, RateLimited
from llmcore.llm.assembly import Assembly
from llmcore.types import Delta, ToolCall, Usage
from llmcore_testing.simulator import Fault, Simulator

PROVIDERS = ["openai:gpt-5.6-luna", "openai:o3-pro", "anthropic:claude-sonnet-5", "echo:default"]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Tell me of rain"},
        ],
        "max_completion_tokens": 400,
    },
    "responses": {"instructions": "Be brief", "input": "Tell me of rain", "max_output_tokens": 400},
    "messages": {
        "system": "Be brief",
        "messages": [{"role": "user", "content": "Tell me of rain"}],
        "max_tokens": 400,
    },
}
TOOLS: dict[str, dict[str, Any]] = {
    "chat": {
        "tools": [{"type": "function", "function": {"name": "add", "parameters": SCHEMA}}],
        "tool_choice": "required",
    },
    "responses": {
        "tools": [{"type": "function", "name": "add", "parameters": SCHEMA}],
        "tool_choice": "required",
    },
    "messages": {"tools": [{"name": "add", "input_schema": SCHEMA}], "tool_choice": {"type": "any"}},
}
ENDS = {"chat": None, "responses": "response.completed", "messages": "message_stop"}
DOCUMENTS: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(ChatCompletion),
    "responses": TypeAdapter(Response),
    "messages": TypeAdapter(AnthropicMessage),
}


def _read_classes(union: Any) -> dict[str, TypeAdapter[Any]]:
    """Return the classes of *union*, by the type that they stand for."""
    classes = typing.get_args(typing.get_args(union)[0])
    return {
        name: TypeAdapter(each)
        for each in classes
        for name in typing.get_args(each.model_fields["type"].annotation)
    }


EVENTS: dict[str, dict[str, TypeAdapter[Any]]] = {
    "chat": {"": TypeAdapter(ChatCompletionChunk)},
    "responses": _read_classes(ResponseStreamEvent),
    "messages": _read_classes(RawMessageStreamEvent),
}
"""What the vendors' own SDKs make of documents and events."""


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[llmcore.Core]:
    settings = {
        "llm": {
            "provider": "openai",
            "model": "gpt-5.6-luna",
            "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
            "anthropic": {"api_key": "sk-ant-test", "base_url": upstream.url},
        },
        "cache": {"provider": "memory"},
        "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        "retry": {"attempts": 1},
    }
    with llmcore.load(settings) as made:
        yield made


def join(events: list[WireEvent]) -> Reply:
    assembly = Assembly()
    for event in events:
        if event.delta is not None:
            assembly.add(event.delta)
    return assembly.build_reply()


def check_events(events: list[WireEvent], api: str, *, written: bool = True) -> None:
    """Fail unless the SDK of the vendor reads *events*, if they were *written* here, and their end is where it belongs."""
    cut = {"response.completed": "response.incomplete"}
    assert events[-1].name in {ENDS[api], cut.get(ENDS[api] or "")}
    for event in events:
        if event.data != b"[DONE]" and written:
            document = json.loads(event.data)
            EVENTS[api][document.get("type", "")].validate_python(document)
            if api != "chat":
                assert document["type"] == event.name
    if api == "chat":
        assert events[-1].data == b"[DONE]"


def rebuild(events: list[WireEvent]) -> tuple[str, list[str]]:
    """Return the text and the arguments of the calls that a client puts together from the events alone."""
    text = ""
    calls: dict[int, str] = {}
    for event in events:
        document = json.loads(event.data) if event.data != b"[DONE]" else {}
        for choice in document.get("choices", ()):
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", ()):
                calls[call["index"]] = calls.get(call["index"], "") + call["function"].get("arguments", "")
        if event.name == "content_block_delta":
            text += document["delta"].get("text", "")
            if "partial_json" in document["delta"]:
                calls[document["index"]] = (
                    calls.get(document["index"], "") + document["delta"]["partial_json"]
                )
        elif event.name == "response.output_text.delta":
            text += document["delta"]
        elif event.name == "response.function_call_arguments.delta":
            calls[document["output_index"]] = calls.get(document["output_index"], "") + document["delta"]
    return text, list(calls.values())


@pytest.mark.parametrize("model", PROVIDERS)
@pytest.mark.parametrize("api", BODIES)
def test_every_api_on_every_provider(core: llmcore.Core, api: str, model: str) -> None:
    given: Any = {"api": api, "model": model}
    live = list(core.llm.send_stream(BODIES[api], **given))
    replay = list(core.llm.send_stream(BODIES[api], **given))
    cached = core.llm.send(BODIES[api], **given)
    fresh = core.llm.send(BODIES[api], **given, cache=False)
    assert (cached.cached, fresh.cached) == (True, False)
    native = (api, model.partition(":")[0]) in {("responses", "openai"), ("messages", "anthropic")}
    for events in (live, replay):
        check_events(events, api, written=not native)
        whole = join(events)
        assert (whole.text, whole.usage, whole.finish_reason) == (
            cached.text,
            cached.usage,
            cached.finish_reason,
        )
        assert rebuild(events)[0] == cached.text
    for reply in (cached, fresh):
        DOCUMENTS[api].validate_python(reply.raw)
        assert json.dumps(cached.text)[1:-1] in json.dumps(reply.raw)
        assert (reply.text, reply.finish_reason, reply.usage) == (cached.text, "stop", cached.usage)


@pytest.mark.parametrize("model", PROVIDERS[:3])
@pytest.mark.parametrize("api", BODIES)
def test_calls_of_tools_on_every_provider(core: llmcore.Core, api: str, model: str) -> None:
    given: Any = {"api": api, "model": model}
    body = {**BODIES[api], **TOOLS[api]}
    live = list(core.llm.send_stream(body, **given))
    reply = core.llm.send(body, **given)
    replay = list(core.llm.send_stream(body, **given))
    (call,) = reply.tool_calls
    assert (reply.finish_reason, reply.cached) == ("tool_calls", True)
    native = (api, model.partition(":")[0]) in {("responses", "openai"), ("messages", "anthropic")}
    for events in (live, replay):
        check_events(events, api, written=not native)
        assert join(events).tool_calls == (call,)
        assert [json.loads(each) for each in rebuild(events)[1]] == [json.loads(call.arguments)]
    DOCUMENTS[api].validate_python(reply.raw)
    assert f'"{call.id}"' in json.dumps(reply.raw)


def test_the_asynchronous_methods_do_the_same(core: llmcore.Core) -> None:
    async def run() -> tuple[Reply, list[WireEvent], int]:
        body = BODIES["messages"]
        reply = await core.llm.asend(body, api="messages")
        events = [event async for event in core.llm.asend_stream(body, api="messages")]
        return reply, events, await core.llm.acount_tokens(body, api="messages")

    reply, events, count = asyncio.run(run())
    assert reply.raw["content"] == [{"type": "text", "text": reply.text}]
    check_events(events, "messages")
    assert count > 0


def test_an_equal_chat_shares_the_entry(core: llmcore.Core, upstream: Simulator) -> None:
    for api, model in (("messages", "openai:gpt-5.6-luna"), ("responses", "anthropic:claude-sonnet-5")):
        core.llm.send(BODIES[api], api=api, model=model)  # type: ignore[arg-type]
        options: Any = {"system": "Be brief", "max_completion_tokens": 400, "model": model}
        assert core.llm.chat("Tell me of rain", **options).cached
    assert len(upstream.requests) == 2


def test_a_request_of_the_providers_own_api_is_sent_as_it_is(core: llmcore.Core, upstream: Simulator) -> None:
    system = [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}]
    body = {
        **BODIES["messages"],
        "system": system,
        "top_k": 5,
        "metadata": {"user_id": "ann"},
        "stream": True,
    }
    reply = core.llm.send(body, api="messages", model="anthropic:claude-sonnet-5")
    sent = upstream.requests[-1]
    assert isinstance(sent.body, dict)
    assert sent.path == "/v1/messages"
    assert sent.body == {
        **{name: value for name, value in body.items() if name != "stream"},
        "model": "claude-sonnet-5",
    }
    assert reply.raw["type"] == "message"
    live = list(core.llm.send_stream(BODIES["messages"], api="messages", model="anthropic:claude-sonnet-5"))
    assert "ping" in [event.name for event in live], "the upstream's own events"


def test_what_a_request_says_reaches_the_other_api(core: llmcore.Core, upstream: Simulator) -> None:
    body = {
        **BODIES["messages"],
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "metadata": {"user_id": "ann"},
        "output_config": {"effort": "low"},
    }
    core.llm.send(body, api="messages")
    assert upstream.requests[-1].path == "/v1/chat/completions"
    assert upstream.requests[-1].body == {
        "model": "gpt-5.6-luna",
        "messages": BODIES["chat"]["messages"],
        "max_completion_tokens": 400,
        "stop": ["END"],
        "reasoning_effort": "low",
        "temperature": 0.5,
        "user": "ann",
    }


@pytest.mark.parametrize(
    ("api", "model", "fields", "where"),
    [
        ("messages", "openai:gpt-5.6-luna", {"top_k": 5}, "top_k"),
        ("messages", "echo:default", {"thinking": {"type": "adaptive"}}, "thinking"),
        ("responses", "anthropic:claude-sonnet-5", {"previous_response_id": "r"}, "previous_response_id"),
        ("responses", "echo:default", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
def test_a_field_that_cannot_be_translated_is_refused_before_anything_is_sent(  # noqa: PLR0917 - columns
    core: llmcore.Core, upstream: Simulator, api: Any, model: str, fields: dict[str, Any], where: str
) -> None:
    for send in (core.llm.send, lambda *given, **named: list(core.llm.send_stream(*given, **named))):
        with pytest.raises(BadRequest) as caught:
            send({**BODIES[api], **fields}, api=api, model=model)
        assert (caught.value.where, caught.value.provider) == (where, model.partition(":")[0])
    assert upstream.requests == []


@pytest.mark.parametrize("api", ["responses", "messages"])
def test_an_answer_that_was_cut_says_so_in_each_api(core: llmcore.Core, api: Any) -> None:
    limit = {"responses": "max_output_tokens", "messages": "max_tokens"}[api]
    for model in PROVIDERS[:3]:
        body = {**BODIES[api], limit: 2}
        events = list(core.llm.send_stream(body, api=api, model=model))
        document = core.llm.send(body, api=api, model=model).raw
        if api == "messages":
            assert document["stop_reason"] == "max_tokens"
            assert json.loads(events[-2].data)["delta"]["stop_reason"] == "max_tokens"
        else:
            assert (document["status"], document["incomplete_details"]["reason"]) == (
                "incomplete",
                "max_output_tokens",
            )
            assert events[-1].name == "response.incomplete"


def test_errors_keep_their_class(core: llmcore.Core, upstream: Simulator) -> None:
    api: Any
    for api in ("responses", "messages"):
        upstream.fail(Fault.status(429))
        with pytest.raises(RateLimited):
            core.llm.send(BODIES[api], api=api, cache=False)
    upstream.fail(Fault.cut_stream())
    with pytest.raises(ProviderError):
        list(core.llm.send_stream(BODIES["messages"], api="messages", cache=False))


THOUGHT = [
    Delta(reasoning="Let me ", model="m"),
    Delta(reasoning="think."),
    Delta(text="It is "),
    Delta(text="both."),
    Delta(tool_calls=(ToolCall(name="add", arguments="", id="c1"),)),
    Delta(tool_calls=(ToolCall(name="", arguments='{"a":'),)),
    Delta(
        tool_calls=(ToolCall(name="", arguments="1}"), ToolCall(name="sub", arguments="{}", id="c2", index=1))
    ),
    Delta(finish_reason="tool_calls"),
    Delta(usage=Usage(input_tokens=10, output_tokens=5, cached_tokens=4)),
]
REFUSED = [
    Delta(refusal="I ", model="m"),
    Delta(refusal="will not."),
    Delta(finish_reason="stop", usage=Usage(output_tokens=2)),
]
EMPTY = [Delta(model="m", finish_reason="length", usage=Usage(output_tokens=9))]


@pytest.mark.parametrize("api", BODIES)
@pytest.mark.parametrize("deltas", [THOUGHT, REFUSED, EMPTY], ids=["thought", "refused", "empty"])
def test_reasoning_refusals_and_calls_have_their_events(api: Any, deltas: list[Delta], scripted: Any) -> None:
    scripted.script[:] = [deltas]
    with llmcore.load({"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}) as core:
        live = list(core.llm.send_stream(BODIES[api], api=api))
        assembly = Assembly()
        for delta in deltas:
            assembly.add(delta)
        expected = assembly.build_reply()
        check_events(live, api)
        assert join(live).choices == expected.choices
        text, calls = rebuild(live)
        assert calls == [call.arguments for call in expected.tool_calls]
        assert text == (expected.text or (expected.refusal or "" if api == "messages" else ""))
        scripted.script[:] = [expected]
        document = core.llm.send(BODIES[api], api=api, cache=False).raw
        DOCUMENTS[api].validate_python(document)
        if api == "messages":
            kinds = [block["type"] for block in document["content"]]
            starts = [json.loads(event.data) for event in live if event.name == "content_block_start"]
            assert [start["content_block"]["type"] for start in starts] == kinds
            assert [start["index"] for start in starts] == list(range(len(kinds)))
            assert sum(event.name == "content_block_stop" for event in live) == len(kinds)
            assert json.loads(live[-2].data)["usage"] == document["usage"]
            if expected.tool_calls:
                assert document["usage"]["input_tokens"] == 6
                assert kinds == ["thinking", "text", "tool_use", "tool_use"]
        elif api == "responses":
            last = json.loads(live[-1].data)["response"]
            drop = {"id", "created_at"}
            assert _remove(last, drop) == _remove(document, drop)
            assert [json.loads(event.data)["sequence_number"] for event in live] == list(range(len(live)))


def _remove(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _remove(each, names) for name, each in value.items() if name not in names}
    return [_remove(each, names) for each in value] if isinstance(value, list) else value


def test_callers_of_two_apis_share_one_request(core: llmcore.Core, upstream: Simulator) -> None:
    async def collect(api: Any) -> list[WireEvent]:
        events = core.llm.asend_stream(BODIES[api], api=api, model="anthropic:claude-sonnet-5")
        return [event async for event in events]

    async def run() -> list[list[WireEvent]]:
        return list(await asyncio.gather(collect("chat"), collect("responses")))

    chat, responses = asyncio.run(run())
    check_events(chat, "chat")
    check_events(responses, "responses")
    assert rebuild(chat) == rebuild(responses)
    assert join(chat).choices == join(responses).choices
    assert len(upstream.requests) == 1
