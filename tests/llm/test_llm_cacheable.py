"""Which answers are cached, for every provider: complete ones that have content, in sync and async."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

import llmcore
from llmcore.errors import IncompleteReply
from llmcore.llm.cacheable import is_cacheable
from llmcore.types import Delta, Reply, ToolCall

CONFIG: dict[str, Any] = {"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}
CALL = ToolCall(name="add", arguments="{}", id="c1")
END = Delta(finish_reason="stop")

Chat = Callable[..., Reply]


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load(CONFIG)


@pytest.fixture(params=["chat", "achat", "stream", "astream"])
def ask(request: pytest.FixtureRequest, core: llmcore.Core) -> Callable[..., Any]:
    async def collect(**given: Any) -> list[Delta]:
        return [delta async for delta in core.llm.astream("Hello", **given)]

    def whole(**given: Any) -> Reply:
        if request.param == "chat":
            return core.llm.chat("Hello", **given)
        return asyncio.run(core.llm.achat("Hello", **given))

    def make_deltas(**given: Any) -> list[Delta]:
        return (
            list(core.llm.stream("Hello", **given))
            if request.param == "stream"
            else asyncio.run(collect(**given))
        )

    return whole if "chat" in request.param else make_deltas


def make_body(*choices: dict[str, Any]) -> bytes:
    return json.dumps({"choices": list(choices)}).encode()


def make_choice(finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"message": message, "finish_reason": finish}


def play(ask: Callable[..., Any], reply: Reply) -> Any:
    """Return *reply* as the script of a provider that is asked in this way."""
    if ask.__name__ == "whole":
        return reply
    content = Delta(text=reply.text, reasoning=reply.reasoning, refusal=reply.refusal)
    end = Delta(tool_calls=reply.tool_calls, finish_reason=reply.finish_reason, body=reply.body)
    return [content, end]


IMAGES = [{"type": "image_url", "image_url": {"url": "data:"}}]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="Rain"),
        Reply(text="", tool_calls=(CALL,), finish_reason="tool_calls"),
        Reply(text="Rain", finish_reason="STOP"),
        Reply(text="", body=make_body(make_choice(audio={"id": "a", "data": "AA=="}))),
        Reply(text="", body=make_body(make_choice(content=None, images=IMAGES))),
        Reply(text="", body=make_body(make_choice(content=IMAGES))),
    ],
)
def test_a_complete_answer_with_content_is_cached(
    ask: Callable[..., Any], scripted: Any, reply: Reply
) -> None:
    scripted.script += [play(ask, reply), play(ask, Reply(text="another"))]
    ask()
    ask()
    assert len(scripted.requests) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        Reply(text=""),
        Reply(text=" \n\t"),
        Reply(text="", reasoning="Hm"),
        Reply(text="", refusal="No."),
        Reply(text="I", refusal="No."),
        Reply(text="Rain", finish_reason="length"),
        Reply(text="Rain", finish_reason="MAX_TOKENS"),
        Reply(text="Rain", finish_reason=""),
        Reply(text="Rain", finish_reason=None),
        Reply(text="", body=make_body(make_choice(content=[{"type": "thinking", "thinking": []}]))),
        Reply(text="", body=b"[1, 2]"),
    ],
)
def test_an_answer_without_content_is_asked_for_again(
    ask: Callable[..., Any], scripted: Any, reply: Reply
) -> None:
    scripted.script += [play(ask, reply), play(ask, Reply(text="another"))]
    with contextlib.suppress(IncompleteReply):  # a stream with a meaningless finish_reason
        ask()
    ask()
    assert len(scripted.requests) == 2


def test_an_empty_finish_reason_does_not_replace_an_earlier_one(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append([Delta(text="Rain"), END, Delta(finish_reason="")])
    list(core.llm.stream("Hello"))
    reply = core.llm.chat("Hello")
    assert (reply.text, reply.finish_reason, reply.cached) == ("Rain", "stop", True)


def test_refusal_and_reasoning_arrive_in_pieces_and_are_joined(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append(
        [Delta(reasoning="H"), Delta(reasoning="m"), Delta(refusal="I can"), Delta(refusal="not."), END]
    )
    deltas = list(core.llm.stream("Hello"))
    assert [delta.reasoning for delta in deltas] == ["H", "m", "", "", ""]
    assert [delta.refusal for delta in deltas] == [None, None, "I can", "not.", None]


def test_a_replay_from_the_cache_has_the_reasoning(ask: Callable[..., Any], scripted: Any) -> None:
    scripted.script += [play(ask, Reply(text="Rain", reasoning="Hm")), play(ask, Reply(text="another"))]
    for got in (ask(), ask()):
        deltas = got if isinstance(got, list) else [got]
        assert "".join(delta.reasoning for delta in deltas) == "Hm"
        assert "".join(delta.text for delta in deltas) == "Rain"
    assert len(scripted.requests) == 1


def test_callers_of_one_flight_get_the_refusal_and_the_reasoning(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append(Reply(text="", refusal="I cannot.", reasoning="Hm"))

    async def read() -> tuple[str, str]:
        deltas = [delta async for delta in core.llm.astream("Hello")]
        return "".join(d.refusal or "" for d in deltas), "".join(d.reasoning for d in deltas)

    async def together() -> Any:
        return await asyncio.gather(core.llm.achat("Hello"), read(), core.llm.achat("Hello"))

    first, second, third = asyncio.run(together())
    assert (
        (first.refusal, first.reasoning) == (third.refusal, third.reasoning) == second == ("I cannot.", "Hm")
    )
    assert len(scripted.requests) == 1


def test_a_refused_typed_answer_says_so(core: llmcore.Core, scripted: Any) -> None:
    from dataclasses import make_dataclass

    scripted.script.append(Reply(text="", refusal="I cannot."))
    reply: Reply = core.llm.chat("Hello", response_format=make_dataclass("City", [("name", str)]))
    assert (reply.refusal, reply.parsed) == ("I cannot.", None)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice(content=[{"text": "b"}]))),
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice("eos", tool_calls=[{}]))),
    ],
)
def test_several_choices_are_cached_if_all_are_complete(reply: Reply) -> None:
    assert is_cacheable(reply, several=True)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice("length", content="b"))),
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice("", content="b"))),
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice(content=" "))),
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice(reasoning_content="b"))),
        Reply(text="a", body=make_body(make_choice(content="a"), make_choice(content="", refusal="No."))),
        Reply(text="a", body=make_body(make_choice(content="a"), {"finish_reason": "stop"})),
        Reply(text="a"),
    ],
)
def test_one_choice_without_an_answer_keeps_all_out_of_the_cache(reply: Reply) -> None:
    assert not is_cacheable(reply, several=True)
