"""The events of compatible servers come out of `send_stream` one by one: live, shared, and with the same content in a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import llmcore
from llmcore.llm.assembly import Assembly
from llmcore.support.http import EventParser
from llmcore.types import Choice, WireEvent
from tests.kits.body_server import BodyServer
from tests.kits.compatible_rows import BOM, EVENTS, ROWS, Row

MESSAGES: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def core(row: Row) -> Iterator[llmcore.Core]:
    server = BodyServer(row.sent, row.kind, row.status, leaves_open=row.leaves_open)
    openai = {"api_key": "sk-test", "base_url": server.url}
    settings = {
        "llm": {"provider": "openai", "model": "m", "openai": openai},
        "cache": {"provider": "memory"},
    }
    with llmcore.load(settings) as made:
        yield made
    server.close()


def read_events(core: llmcore.Core, way: str) -> list[list[WireEvent]]:
    """Return the events of a stream: live, to a second caller of the same request if asynchronous, and once more."""
    body = {"messages": MESSAGES}

    async def collect() -> list[WireEvent]:
        return [event async for event in core.llm.asend_stream(body)]

    async def collect_all() -> list[list[WireEvent]]:
        return [*await asyncio.gather(collect(), collect()), await collect()]

    if way == "astream":
        return asyncio.run(collect_all())
    return [list(core.llm.send_stream(body)) for _ in range(2)]


def join_choices(events: Sequence[WireEvent]) -> tuple[Choice, ...]:
    assembly = Assembly()
    for each in events:
        if each.delta is not None:
            assembly.add(each.delta)
    return assembly.build_reply().choices


def find_events(row: Row) -> list[tuple[str | None, bytes]] | None:
    """Return the events in the body, up to `[DONE]`; None if it is a document, whose events are written."""
    body = b"".join(row.sent).removeprefix(BOM).lstrip()
    if row.kind != EVENTS and body[:5] != b"data:" and b"}\n{" not in body:
        return None
    if b'"choices": [{"index": 0, "message"' in body and b'"delta"' not in body:
        return None
    parser = EventParser()
    events = [*parser.feed(body), *parser.end()]
    payloads = [payload for _, payload in events]
    end = payloads.index(b"[DONE]") + 1 if b"[DONE]" in payloads else len(events)
    return [(name.decode() or None, payload) for name, payload in events[:end]]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stream", "astream"], indirect=True)
@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.error is None],
    ids=lambda row: f"{row.server}: {row.does}",
    indirect=True,
)
def test_every_event_comes_out_live_shared_and_in_a_replay(row: Row, core: llmcore.Core, way: str) -> None:
    *live, again = read_events(core, way)
    sent = find_events(row)
    for events in live:
        if sent is not None:
            assert [(event.name, event.data) for event in events] == sent
        (choice,) = join_choices(events)
        assert (choice.text, choice.reasoning, choice.refusal) == (row.text, row.reasoning, row.refusal)
        assert [(call.name, call.arguments) for call in choice.tool_calls] == list(row.calls)
        assert choice.finish_reason == row.finish
    assert join_choices(again) == join_choices(live[0])
