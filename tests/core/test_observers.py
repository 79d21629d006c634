"""Observers receive the start and the end of each call, with the facts that spans and reports need."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

import llmcore
from llmcore.errors import IncompleteReply, Unavailable
from llmcore.types import CallEvent, CallStart, Delta, Reply, Usage

CONFIG: dict[str, Any] = {
    "llm": {"provider": "scripted"},
    "voice": {"provider": "hum"},
    "cache": {"provider": "memory"},
    "retry": {"attempts": 1},
    "observers": {"use": ["listener"]},
}
END = Delta(
    finish_reason="length", usage=Usage(input_tokens=3, output_tokens=2), service_tier="flex", request_id="r1"
)
STREAM = [Delta(text="Rain "), Delta(text="falls"), END]
WHOLE = Reply(text="Rain", finish_reason="length", service_tier="flex", request_id="r1")


@pytest.fixture
def starts(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> list[CallStart]:
    """Let the observer define `on_start`; it returns the number of the call."""
    found: list[CallStart] = []

    def on_start(self: object, call: CallStart) -> int:  # noqa: ARG001 - a method
        found.append(call)
        if call.user == "trouble":
            raise RuntimeError("an observer that fails")
        return len(found)

    monkeypatch.setattr(scripted.Listener, "on_start", on_start, raising=False)
    return found


@pytest.fixture
def core(scripted: Any) -> llmcore.Core:
    del scripted
    return llmcore.load(CONFIG)


@pytest.fixture(params=["chat", "achat", "stream", "astream"])
def ask(request: pytest.FixtureRequest, core: llmcore.Core) -> Callable[..., Any]:
    async def collect(**given: Any) -> list[Delta]:
        return [delta async for delta in core.llm.astream("Hello", **given)]

    if request.param == "chat":
        return lambda **given: core.llm.chat("Hello", **given)
    if request.param == "achat":
        return lambda **given: asyncio.run(core.llm.achat("Hello", **given))
    if request.param == "stream":
        return lambda **given: list(core.llm.stream("Hello", **given))
    return lambda **given: asyncio.run(collect(**given))


def get_only(events: list[CallEvent]) -> CallEvent:
    (event,) = events
    return event


@pytest.mark.parametrize("method", ["chat", "stream"])
def test_the_end_of_a_call_has_the_facts_of_its_request(
    core: llmcore.Core, scripted: Any, method: str
) -> None:
    streamed = method == "stream"
    scripted.script.append(STREAM if streamed else WHOLE)
    before = time.time()
    list(core.llm.stream("Hello")) if streamed else core.llm.chat("Hello")
    event = get_only(scripted.events)
    assert before <= event.started_at <= time.time()
    assert (event.request_id, event.finish_reason, event.tier) == ("r1", "length", "flex")
    assert event.stream is streamed
    if streamed:
        assert event.first_token_s is not None
        assert 0 <= event.first_token_s <= event.latency_s
    else:
        assert event.first_token_s is None


def test_the_result_of_on_start_comes_back_in_the_end_event(
    ask: Callable[..., Any], scripted: Any, starts: list[CallStart]
) -> None:
    ask(user="ann", tags="nightly", cache=False)
    ask(cache=False)
    assert [event.start for event in scripted.events] == [1, 2]
    assert (starts[0].kind, starts[0].provider, starts[0].model) == ("llm", "scripted", "default")
    assert (starts[0].user, starts[0].tags) == ("ann", ("nightly",))
    for start, event in zip(starts, scripted.events, strict=True):
        assert (start.call, start.started_at, start.stream) == (event.call, event.started_at, event.stream)


def test_an_answer_from_the_cache_has_a_start_and_an_end(
    ask: Callable[..., Any], scripted: Any, starts: list[CallStart]
) -> None:
    ask()
    ask()
    assert [(event.cached, event.start) for event in scripted.events] == [(False, 1), (True, 2)]
    assert len(starts) == 2


@pytest.mark.parametrize("cache", [True, "refresh"])
def test_a_failed_call_has_an_end(
    ask: Callable[..., Any], scripted: Any, starts: list[CallStart], cache: Any
) -> None:
    scripted.script.append(Unavailable("down", status=503, request_id="r9"))
    with pytest.raises(Unavailable):
        ask(cache=cache)
    event = get_only(scripted.events)
    assert (event.error, event.request_id, event.start) == ("Unavailable", "r9", 1)
    assert len(starts) == 1


def test_a_stream_that_breaks_off_has_its_time_to_first_token(core: llmcore.Core, scripted: Any) -> None:
    scripted.script.append([Delta(text="Rain")])
    with pytest.raises(IncompleteReply):
        list(core.llm.stream("Hello"))
    event = get_only(scripted.events)
    assert event.error == "IncompleteReply"
    assert event.first_token_s is not None


def test_each_caller_of_a_shared_call_has_its_own_start_and_end(
    core: llmcore.Core, scripted: Any, starts: list[CallStart]
) -> None:
    async def main() -> None:
        await asyncio.gather(core.llm.achat("Hello"), core.llm.achat("Hello"))

    asyncio.run(main())
    assert len(scripted.requests) == 1
    assert sorted((event.cached, event.start in {1, 2}) for event in scripted.events) == [
        (False, True),
        (True, True),
    ]
    assert len(starts) == 2


def test_an_observer_whose_on_start_raises_is_disabled(
    core: llmcore.Core, scripted: Any, starts: list[CallStart], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "llmcore"):
        assert core.llm.chat("Hello", user="trouble").text
        assert core.llm.chat("Goodbye").text
    assert len(starts) == 1
    assert scripted.events == []
    assert "observer Listener raised RuntimeError and was disabled" in caplog.text


def test_a_spoken_text_has_one_start_and_one_end(
    core: llmcore.Core, scripted: Any, starts: list[CallStart]
) -> None:
    core.voice.synthesize("One. Two.", user="ann")
    event, start = get_only(scripted.events), starts[0]
    assert (event.kind, event.start, event.call) == ("voice", 1, start.call)
    assert (start.kind, start.provider, start.user, start.stream) == ("voice", "hum", "ann", False)
    core.voice.synthesize("One. Two.")
    assert [(each.cached, each.start) for each in scripted.events] == [(False, 1), (True, 2)]


@pytest.mark.parametrize(
    "headers", [[("traceparent", "00-1")], {"traceparent": 1}, None, RuntimeError("no headers")]
)
def test_an_observer_whose_headers_are_wrong_fails_no_call_and_leaves_no_reservation(
    core: llmcore.Core,
    scripted: Any,
    starts: list[CallStart],
    monkeypatch: pytest.MonkeyPatch,
    headers: object,
) -> None:
    def get_headers(self: object, start: object) -> object:  # noqa: ARG001 - a method
        if isinstance(headers, Exception):
            raise headers
        return headers

    monkeypatch.setattr(scripted.Listener, "get_headers", get_headers, raising=False)
    assert core.llm.chat("Hello").text
    assert len(starts) == 1
    assert [row["state"] for row in core.usage.export()] == ["done"]
