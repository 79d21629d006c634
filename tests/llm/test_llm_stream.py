"""A streamed answer is complete or an error, is cached like any other, and is closed when its reader leaves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

import llmcore
from llmcore.errors import IncompleteReply, ProviderError, Timeout, Unavailable
from llmcore.types import Delta, ToolCall, Usage

CONFIG: dict[str, Any] = {"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}

Stream = Callable[..., list[Delta]]


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load(CONFIG)


@pytest.fixture(params=["sync", "async"])
def stream(request: pytest.FixtureRequest, core: llmcore.Core) -> Stream:
    if request.param == "sync":
        return lambda *args, **given: list(core.llm.stream(*args, **given))

    async def collect(*args: Any, **given: Any) -> list[Delta]:
        return [delta async for delta in core.llm.astream(*args, **given)]

    return lambda *args, **given: asyncio.run(collect(*args, **given))


def join_text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


END = Delta(finish_reason="stop", usage=Usage(input_tokens=3, output_tokens=2))


def test_pieces_come_as_the_backend_gives_them_and_the_last_says_how_it_ended(
    stream: Stream, scripted: Any
) -> None:
    scripted.script.append([Delta(text="Rain "), Delta(text="falls"), END])
    deltas = stream("Hello")
    assert [delta.text for delta in deltas] == ["Rain ", "falls", ""]
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("stop", END.usage)


def test_a_streamed_answer_and_a_plain_one_share_their_entry(
    stream: Stream, core: llmcore.Core, scripted: Any
) -> None:
    streamed = join_text(stream("Hello"))
    reply = core.llm.chat("Hello")
    assert (reply.cached, reply.text) == (True, streamed)
    other = core.llm.chat("Goodbye")
    assert join_text(stream("Goodbye")) == other.text
    assert len(scripted.requests) == 2


def test_an_incomplete_answer_is_an_error_with_the_partial_text_and_not_cached(
    stream: Stream, core: llmcore.Core, scripted: Any
) -> None:
    scripted.script.append([Delta(text="Rain "), Delta(text="fa")])
    with pytest.raises(IncompleteReply) as caught:
        stream("Hello")
    assert caught.value.partial == "Rain fa"
    assert not core.llm.chat("Hello").cached


@pytest.mark.slow
def test_a_failure_before_the_first_piece_is_tried_again(stream: Stream, scripted: Any) -> None:
    scripted.script += [
        Unavailable("down", retry_after=0),
        [Unavailable("down", retry_after=0)],
        [Delta(text="a"), END],
    ]
    assert join_text(stream("Hello")) == "a"
    assert len(scripted.requests) == 3


def test_a_failure_after_the_first_piece_is_not_tried_again(stream: Stream, scripted: Any) -> None:
    scripted.script.append([Delta(text="Rain "), Unavailable("reset", retry_after=0)])
    with pytest.raises(Unavailable) as caught:
        stream("Hello")
    assert caught.value.partial == "Rain "
    assert len(scripted.requests) == 1


def test_a_foreign_exception_in_the_middle_is_translated(stream: Stream, scripted: Any) -> None:
    scripted.script.append([Delta(text="Rain "), ValueError("bad chunk")])
    with pytest.raises(ProviderError, match="ValueError: bad chunk") as caught:
        stream("Hello")
    assert caught.value.partial == "Rain "


def test_tool_calls_in_pieces_are_joined_for_the_cache(
    stream: Stream, core: llmcore.Core, scripted: Any
) -> None:
    scripted.script.append(
        [
            Delta(tool_calls=(ToolCall(name="weather", arguments="", id="call_1", index=0),)),
            Delta(tool_calls=(ToolCall(name="", arguments='{"city":', index=0),)),
            Delta(tool_calls=(ToolCall(name="time", arguments="{}", id="call_2", index=1),)),
            Delta(tool_calls=(ToolCall(name="", arguments='"Paris"}', index=0),)),
            Delta(finish_reason="tool_calls"),
        ]
    )
    stream("Weather?")
    assert [(call.name, call.arguments, call.id) for call in core.llm.chat("Weather?").tool_calls] == [
        ("weather", '{"city":"Paris"}', "call_1"),
        ("time", "{}", "call_2"),
    ]


def test_a_stream_closed_early_ends_the_request_and_is_not_cached(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append([Delta(text="a"), Delta(text="b"), END])
    stream = core.llm.stream("Hello")
    assert next(iter(stream)).text == "a"
    stream.close()  # as `for ... break` does when the generator is collected
    assert scripted.closed == ["stream"]
    assert not core.llm.chat("Hello").cached


def test_a_stream_closed_after_the_last_delta_is_cached(core: llmcore.Core) -> None:
    for delta in core.llm.stream("Hello"):
        if delta.finish_reason:
            break
    assert core.llm.chat("Hello").cached


def test_the_deadline_ends_an_endless_stream(scripted: Any) -> None:
    late = llmcore.load({**CONFIG, "retry": {"deadline": "500ms", "attempts": 1}})
    scripted.script.append(itertools.repeat(Delta(text="drop ")))
    stream = late.llm.stream("Hello")
    assert next(iter(stream)).text == "drop "
    with pytest.raises(Timeout) as caught:
        list(stream)
    assert caught.value.partial is not None
    assert caught.value.partial.startswith("drop ")
