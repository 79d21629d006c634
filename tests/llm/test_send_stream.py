"""Streams in a vendor's format: live, shared, and from the cache, with every field and every choice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmcore
from llmcore import WireEvent
from llmcore.llm.assembly import Assembly
from llmcore.types import Choice, Delta, Reply, ToolCall, Usage

CONFIG: dict[str, Any] = {"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}
BODY: Any = {"messages": [{"role": "user", "content": "Hello"}], "n": 2}
END = Delta(finish_reason="stop", usage=Usage(input_tokens=3, output_tokens=2), request_id="r1")
LOGPROBS = {"content": [{"token": "Rain", "logprob": -0.1}]}
TWO_CHOICES = [
    Delta(reasoning="Hm", choice=1),
    Delta(text="Rain ", logprobs=LOGPROBS),
    Delta(text="Snow", choice=1),
    Delta(tool_calls=(ToolCall(name="add", arguments='{"a":', id="c1"),), choice=1),
    Delta(text="falls", logprobs={"content": [{"token": "falls", "logprob": -0.2}]}),
    Delta(tool_calls=(ToolCall(name="", arguments="1}"),), choice=1),
    Delta(choice=1, finish_reason="tool_calls"),
    END,
]
CHOICES = (
    Choice(
        text="Rain falls",
        finish_reason="stop",
        logprobs={"content": [LOGPROBS["content"][0], {"token": "falls", "logprob": -0.2}]},
    ),
    Choice(
        text="Snow",
        reasoning="Hm",
        tool_calls=(ToolCall(name="add", arguments='{"a":1}', id="c1"),),
        finish_reason="tool_calls",
    ),
)

Stream = Callable[..., list[WireEvent]]


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load(CONFIG)


@pytest.fixture(params=["sync", "async"])
def stream(request: pytest.FixtureRequest, core: llmcore.Core) -> Stream:
    async def collect(*args: Any, **given: Any) -> list[WireEvent]:
        return [event async for event in core.llm.asend_stream(*args, **given)]

    if request.param == "sync":
        return lambda *args, **given: list(core.llm.send_stream(*args, **given))
    return lambda *args, **given: asyncio.run(collect(*args, **given))


def join_deltas(events: list[WireEvent]) -> tuple[Choice, ...]:
    """Return the choices that the deltas of *events* add up to."""
    assembly = Assembly()
    for event in events:
        if event.delta is not None:
            assembly.add(event.delta)
    return assembly.build_reply().choices


def join_payloads(events: list[WireEvent]) -> tuple[Choice, ...]:
    """Return the choices that the payloads of *events* add up to, as a client of Chat Completions reads them."""
    assembly = Assembly()
    for event in events[:-1]:
        for sent in json.loads(event.data)["choices"]:
            delta = sent["delta"]
            calls = tuple(
                ToolCall(
                    name=call["function"].get("name", ""),
                    arguments=call["function"]["arguments"],
                    id=call.get("id", ""),
                    index=call["index"],
                )
                for call in delta.get("tool_calls") or ()
            )
            assembly.add(
                Delta(
                    choice=sent["index"],
                    text=delta.get("content") or "",
                    reasoning=delta.get("reasoning_content") or "",
                    refusal=delta.get("refusal"),
                    tool_calls=calls,
                    finish_reason=sent["finish_reason"],
                    logprobs=sent["logprobs"],
                )
            )
    return assembly.build_reply().choices


def list_usage(events: list[WireEvent]) -> list[Any]:
    found = [json.loads(event.data).get("usage") for event in events[:-1]]
    return [each["prompt_tokens"] for each in found if each]


@pytest.mark.parametrize("asked", ["live", "replay", "after a chat"])
def test_a_provider_without_events_streams_chunks_with_every_field_and_choice(
    stream: Stream, core: llmcore.Core, scripted: Any, asked: str
) -> None:
    if asked == "after a chat":
        scripted.script.append(
            Reply(
                text="Rain falls",
                logprobs=CHOICES[0].logprobs,
                other_choices=CHOICES[1:],
                usage=Usage(input_tokens=3, output_tokens=2),
            )
        )
        core.llm.send(BODY)
    else:
        scripted.script.append(TWO_CHOICES)
    if asked == "replay":
        stream(BODY)
    events = stream(BODY)
    assert len(scripted.requests) == 1
    assert join_deltas(events) == join_payloads(events) == CHOICES
    assert events[-1].data == b"[DONE]"
    assert list_usage(events) == [3]
    chunks = [json.loads(event.data) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(event.name is None for event in events)


def test_an_upstream_s_events_come_out_as_they_are_and_not_in_a_replay(stream: Stream, scripted: Any) -> None:
    first, empty, last = b'{"choices":[{"index":0}]}', b'{"x":1}', b'{"choices":[]}'
    scripted.script.append(
        [
            Delta(raw=empty, event_name="ping"),
            Delta(text="Rain", raw=first, event_name="chunk"),
            Delta(text="Snow", choice=1, raw=b""),
            Delta(choice=1, finish_reason="stop", raw=b""),
            Delta(finish_reason="stop", usage=END.usage, raw=last),
            Delta(raw=b"[DONE]"),
        ]
    )
    events = stream(BODY)
    assert [event.data for event in events] == [empty, first, last, b"[DONE]"]
    assert [event.name for event in events] == ["ping", "chunk", None, None]
    assert [event.delta is None for event in events] == [True, False, False, True]
    replay = stream(BODY)
    assert [choice.text for choice in join_deltas(replay)] == ["Rain", "Snow"]
    assert all(event.delta is None or event.delta.raw is None for event in replay)


def test_a_chat_stream_has_no_pieces_for_events_without_content(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append(
        [
            Delta(raw=b"{}"),
            Delta(text="Rain", raw=b"{1}"),
            Delta(finish_reason="stop", raw=b"{2}"),
            Delta(raw=b"[DONE]"),
        ]
    )
    assert [(delta.text, delta.raw) for delta in core.llm.stream("Hello")] == [("Rain", b"{1}"), ("", b"{2}")]


def test_a_follower_of_the_same_flight_receives_every_event(core: llmcore.Core, scripted: Any) -> None:
    raws = [b'{"a":1}', b'{"b":2}', b'{"c":3}', b"[DONE]"]
    scripted.script.append(
        [
            Delta(text="Rain ", raw=raws[0]),
            Delta(text="falls", raw=raws[1]),
            Delta(finish_reason="stop", raw=raws[2]),
            Delta(raw=raws[3]),
        ]
    )
    body = {"messages": BODY["messages"]}

    async def collect() -> list[WireEvent]:
        return [event async for event in core.llm.asend_stream(body)]

    async def read() -> str:
        return "".join([delta.text async for delta in core.llm.astream("Hello")])

    async def main() -> Any:
        return await asyncio.gather(collect(), collect(), read(), core.llm.asend(body))

    first, second, text, reply = asyncio.run(main())
    assert [event.data for event in first] == [event.data for event in second] == raws
    assert text == reply.text == "Rain falls"
    assert len(scripted.requests) == 1


def test_the_events_of_the_end_come_when_the_answer_is_cached(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append(TWO_CHOICES)
    for event in core.llm.send_stream(BODY):
        if event.delta is not None and event.delta.finish_reason == "stop":
            break
    assert core.llm.send(BODY).cached


def test_leaving_early_ends_the_request(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append(TWO_CHOICES)
    events = core.llm.send_stream(BODY)
    assert next(events).delta is not None
    events.close()
    assert scripted.closed == ["stream"]
    assert not core.llm.send(BODY).cached


def test_a_choice_that_ends_early_holds_nothing_back(core: llmcore.Core, scripted: Any) -> None:
    seen: list[WireEvent] = []
    seen_before_the_end: list[int] = []

    def pieces() -> Iterator[Delta]:
        yield Delta(text="Rain")
        yield Delta(finish_reason="stop")
        yield Delta(text="Snow", choice=1)
        seen_before_the_end.append(len(seen))
        yield Delta(choice=1, finish_reason="stop")

    scripted.script.append(pieces())
    events = core.llm.send_stream(BODY)
    seen.extend(next(events) for _ in range(3))
    assert seen_before_the_end == []
    rest = list(events)
    assert seen_before_the_end == [3]
    assert len(rest) == 2


def test_echo_streams_in_the_format_too() -> None:
    core = llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"}})
    body = {"model": "echo:default", "messages": BODY["messages"], "stream": True}
    live, replay = list(core.llm.send_stream(body)), list(core.llm.send_stream(body))
    assert join_payloads(live) == join_payloads(replay) == join_deltas(live)
    assert join_deltas(live)[0].text == core.llm.chat("Hello").text
