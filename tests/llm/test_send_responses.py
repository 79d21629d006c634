"""The Responses API through `send` and `send_stream`, over real HTTP: fresh, streamed, shared, cached and failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore import Reply, WireEvent
from llmcore.errors import BadRequest, BudgetError, IncompleteReply, MalformedReply, ProviderError
from llmcore.llm.assembly import Assembly
from llmcore.types import Choice
from llmcore_testing.simulator import Fault, Simulator

MODEL = "gpt-5.6-luna"
BODY: dict[str, Any] = {"model": MODEL, "input": "Tell me of rain", "reasoning": {"summary": "auto"}}
TOOL = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}

Send = Callable[..., Reply]
Stream = Callable[..., list[WireEvent]]


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def make_settings(upstream: Simulator, folder: Path) -> dict[str, Any]:
    return {
        "llm": {
            "provider": "openai",
            "model": MODEL,
            "openai": {"api_key": "sk-test", "base_url": upstream.base_url},
        },
        "cache": {"provider": "memory"},
        "ledger": {"path": str(folder / "ledger.sqlite3")},
        "retry": {"attempts": 2},
    }


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[llmcore.Core]:
    with llmcore.load(make_settings(upstream, tmp_path)) as made:
        yield made


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def send(core: llmcore.Core, way: str) -> Send:
    if way == "sync":
        return lambda body, **given: core.llm.send(body, api="responses", **given)
    return lambda body, **given: asyncio.run(core.llm.asend(body, api="responses", **given))


@pytest.fixture
def stream(core: llmcore.Core, way: str) -> Stream:
    async def collect(body: Any, **given: Any) -> list[WireEvent]:
        return [event async for event in core.llm.asend_stream(body, api="responses", **given)]

    if way == "sync":
        return lambda body, **given: list(core.llm.send_stream(body, api="responses", **given))
    return lambda body, **given: asyncio.run(collect(body, **given))


def find_choice(events: list[WireEvent]) -> Choice:
    assembly = Assembly()
    for event in events:
        if event.delta is not None:
            assembly.add(event.delta)
    (choice,) = assembly.build_reply().choices
    return choice


def test_the_answer_has_text_reasoning_usage_and_the_document(
    send: Send, core: llmcore.Core, upstream: Simulator
) -> None:
    reply = send({**BODY, "stream": True, "user": "wire"}, user="ann")
    assert upstream.requests[-1].path == "/v1/responses"
    assert upstream.requests[-1].body == {**BODY, "user": "wire"}
    assert reply.raw["object"] == "response"
    assert reply.text == reply.raw["output"][1]["content"][0]["text"]
    assert reply.reasoning == reply.raw["output"][0]["summary"][0]["text"]
    assert (reply.finish_reason, reply.model, reply.usage.estimated) == ("stop", MODEL, False)
    assert reply.usage.input_tokens == reply.raw["usage"]["input_tokens"]
    assert reply.cost is not None
    (row,) = core.usage.export()
    assert (row["user"], row["model"]) == ("ann", MODEL)


def test_an_equal_request_is_answered_from_the_cache_and_an_equal_chat_is_not(
    send: Send, core: llmcore.Core
) -> None:
    assert [send(BODY).cached for _ in range(2)] == [False, True]
    assert not send({**BODY, "instructions": "Be brief."}).cached
    assert not core.llm.chat("Tell me of rain").cached


@pytest.mark.parametrize(
    "field",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"store": True, "background": True},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
def test_a_request_that_depends_on_state_on_the_server_is_never_cached(
    send: Send, upstream: Simulator, field: dict[str, Any]
) -> None:
    assert [send({**BODY, **field}).cached for _ in range(2)] == [False, False]
    assert len(upstream.requests) == 2


def test_every_event_of_a_stream_comes_out_and_a_replay_has_the_same_content(
    stream: Stream, send: Send, upstream: Simulator
) -> None:
    live = stream(BODY)
    assert upstream.requests[-1].body == {**BODY, "stream": True}
    kinds = [json.loads(event.data)["type"] for event in live]
    assert kinds == [event.name for event in live]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert [json.loads(event.data)["sequence_number"] for event in live] == list(range(len(live)))
    replay = stream(BODY)
    reply = send(BODY)
    assert len(upstream.requests) == 1
    assert find_choice(live) == find_choice(replay) == reply.choices[0]
    last = json.loads(replay[-1].data)
    assert (last["type"], last["response"]) == ("response.completed", reply.raw)
    texts = [json.loads(event.data) for event in replay if event.name == "response.output_text.delta"]
    assert "".join(each["delta"] for each in texts) == reply.text
    assert find_choice(live).reasoning


def test_a_follower_of_the_same_flight_receives_every_event(core: llmcore.Core, upstream: Simulator) -> None:
    async def collect() -> list[WireEvent]:
        return [event async for event in core.llm.asend_stream(BODY, api="responses")]

    async def main() -> Any:
        return await asyncio.gather(collect(), collect(), core.llm.asend(BODY, api="responses"))

    first, second, reply = asyncio.run(main())
    assert [event.data for event in first] == [event.data for event in second]
    assert find_choice(second) == reply.choices[0]
    assert len(upstream.requests) == 1


def test_calls_come_whole_and_in_pieces(send: Send, stream: Stream) -> None:
    body = {**BODY, "tools": [TOOL], "tool_choice": "required"}
    live, reply = stream(body), send(body)
    (call,) = reply.tool_calls
    item = next(each for each in reply.raw["output"] if each["type"] == "function_call")
    assert (call.name, call.arguments, call.id) == ("add", item["arguments"], item["call_id"])
    assert find_choice(live).tool_calls == reply.tool_calls
    assert (reply.finish_reason, reply.cached) == ("tool_calls", True)


def test_structured_output_and_a_limit_are_sent_as_they_are(send: Send) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answer_format = {"type": "json_schema", "name": "city", "schema": schema}
    assert "name" in json.loads(send({**BODY, "text": {"format": answer_format}}).text)
    short = [send({**BODY, "max_output_tokens": 2}) for _ in range(2)]
    assert [(reply.finish_reason, reply.cached) for reply in short] == [("length", False)] * 2


def test_the_server_s_own_tools_pass_through(send: Send, stream: Stream, upstream: Simulator) -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "It rains.", "annotations": [{"type": "url_citation"}]}],
    }  # fmt: skip
    upstream.replies({"output": [search, message]})
    body = {**BODY, "tools": [{"type": "web_search"}]}
    reply = send(body)
    assert upstream.requests[-1].body["tools"] == [{"type": "web_search"}]
    assert (reply.text, reply.tool_calls) == ("It rains.", ())
    assert reply.raw["output"] == [search, message]
    replay = [json.loads(event.data) for event in stream(body)]
    assert [each["item"] for each in replay if each["type"] == "response.output_item.done"] == [
        search,
        message,
    ]


def test_a_refusal_is_not_cached(send: Send, stream: Stream, upstream: Simulator) -> None:
    upstream.replies({"refusal": "I cannot."}, {"refusal": "I cannot."})
    reply = send(BODY)
    assert (reply.text, reply.refusal) == ("", "I cannot.")
    assert find_choice(stream(BODY)).refusal == "I cannot."
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(400), BadRequest),
        (Fault.bad_json(), MalformedReply),
        (Fault.wrong_schema(), MalformedReply),
        (Fault.empty_body(), MalformedReply),
    ],
)
def test_a_fault_of_a_whole_answer_has_its_class(
    send: Send, upstream: Simulator, fault: Fault, error: type[ProviderError]
) -> None:
    upstream.fail(fault, times=None)
    with pytest.raises(error):
        send(BODY)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.cut_stream(6), IncompleteReply),
        (Fault.error_chunk(), ProviderError),
        (Fault.bad_json_chunk(), MalformedReply),
    ],
)
def test_a_fault_of_a_stream_has_its_class(
    stream: Stream, core: llmcore.Core, upstream: Simulator, fault: Fault, error: type[ProviderError]
) -> None:
    upstream.fail(fault, times=None)
    with pytest.raises(error):
        stream(BODY)
    upstream.reset()
    assert not core.llm.send(BODY, api="responses").cached


def test_a_temporary_error_is_retried(send: Send, upstream: Simulator) -> None:
    upstream.fail(Fault.status(503, retry_after=0))
    assert send(BODY).text
    assert len(upstream.requests) == 2


def test_missing_usage_is_counted(send: Send, upstream: Simulator) -> None:
    upstream.fail(Fault.missing_usage())
    usage = send(BODY).usage
    assert usage.estimated
    assert usage.input_tokens > 0
    assert usage.output_tokens > 0


def test_a_budget_reserves_the_most_that_a_response_can_cost(upstream: Simulator, tmp_path: Path) -> None:
    core = llmcore.load(make_settings(upstream, tmp_path) | {"budget": {"limit": "0.000001 USD"}})
    for body in (BODY, {**BODY, "tools": [{"type": "web_search"}]}):
        with pytest.raises(BudgetError):
            core.llm.send(body, api="responses")
    assert upstream.requests == []


def test_a_body_without_input_and_a_field_that_cannot_be_translated_are_refused(
    send: Send, upstream: Simulator
) -> None:
    with pytest.raises(BadRequest, match="body has no `input`"):
        send({"model": MODEL})
    echo = llmcore.load({"llm": {"provider": "echo"}})
    with pytest.raises(BadRequest, match=r"`reasoning\.summary` cannot be translated"):
        echo.llm.send(BODY, api="responses", model="echo:default")
    assert upstream.requests == []
