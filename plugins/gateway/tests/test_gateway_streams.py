"""Streams as servers send them, each in its own way, through the gateway: event for event, with every field."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.kits.body_server import BodyServer
from tests.kits.compatible_rows import BOM, EVENTS, ROWS, Row
from tests.kits.gateway import MODEL, serving

pytestmark = pytest.mark.slow

STREAMS = [row for row in ROWS if row.kind == EVENTS and row.status == 200]


def make_config(url: str, folder: Path) -> dict[str, Any]:
    return {
        "llm": {"provider": "openai", "model": MODEL, "openai": {"base_url": url, "api_key": "sk-test"}},
        "cache": {"provider": "memory"},
        "ledger": {"path": str(folder / "ledger.sqlite3")},
        "retry": {"attempts": 1},
    }


def read_events(sent: bytes) -> list[Any]:
    """Return the payloads of a stream as the standard of server-sent events reads them."""
    text = sent.removeprefix(BOM).decode().replace("\r\n", "\n").replace("\r", "\n")
    payloads = []
    for block in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if any(lines):
            payloads.append("\n".join(lines))
    if "[DONE]" in payloads:
        payloads = payloads[: payloads.index("[DONE]")]
    return [json.loads(payload) if payload[0] in '{["' else payload for payload in payloads]


@pytest.mark.parametrize("row", STREAMS, ids=lambda row: f"{row.server} {row.does}"[:80])
def test_a_stream_comes_through_event_for_event(row: Row, tmp_path: Path) -> None:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    upstream = BodyServer(row.sent, row.kind, leaves_open=row.leaves_open)
    with contextlib.closing(upstream), serving(make_config(upstream.url, tmp_path)) as gateway:
        answer = gateway.http.post("/v1/chat/completions", json=body)
    if row.error is not None:
        if answer.status_code == 200:
            events = read_events(answer.content)
            assert events[-1]["error"]["code"].startswith("LC")
            assert events[:-1] == read_events(b"".join(row.sent))[: len(events) - 1]
        else:
            assert answer.json()["error"]["code"].startswith("LC")
        assert b"[DONE]" not in answer.content
        return
    assert answer.status_code == 200, answer.text
    events, sent = read_events(answer.content), read_events(b"".join(row.sent))
    if not sent:  # a complete answer that is labelled as a stream: the clients get chunks
        choices = [choice for event in events for choice in event["choices"]]
        assert choices[0]["delta"]["content"] == row.text
        assert not any("message" in choice for choice in choices)
    else:
        assert events == sent
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    assert answer.text.count("[DONE]") == 1
