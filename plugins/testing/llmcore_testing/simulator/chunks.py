"""Split a chat completion into the events of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from llmcore_testing.simulator.wire import encode

__all__ = ["DONE", "format_event", "make_stream_events", "split_text"]

DONE: Final = b"data: [DONE]\n\n"
_WORDS: Final = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+")
_FEWEST: Final = 3


def format_event(data: bytes) -> bytes:
    """Return *data* as one server-sent event."""
    return b"data: " + data + b"\n\n"


def make_stream_events(completion: Mapping[str, Any], *, include_usage: bool) -> tuple[list[bytes], int]:
    """Return the events, `[DONE]` included, and the index of the first event with a finish_reason."""
    if "choices" not in completion:
        return [format_event(encode(completion)), DONE], 1
    frame = {"id": "", "object": "", "created": 0, "model": ""}
    frame |= {name: value for name, value in completion.items() if name not in {"choices", "usage"}}
    frame["object"] = "chat.completion.chunk"
    front = b"data: " + encode(frame)[:-1] + b',"choices":['
    back = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
    choices = completion["choices"]
    events = [
        front + _make_delta(c, delta) + back
        for c in choices
        for delta in _split_delta(c.get("message") or {})
    ]
    end = len(events)
    events += [front + _make_delta(c, b"{}", ends=True) + back for c in choices] or [front + back]
    if include_usage and (usage := completion.get("usage")) is not None:
        events.append(front + b'],"usage":' + encode(usage) + b"}\n\n")
    return [*events, DONE], end


def split_text(text: str) -> list[str]:
    """Split *text* between words. A text of three characters or more gives at least three pieces."""
    pieces: list[str] = _WORDS.findall(text)
    if len(pieces) >= _FEWEST:
        return pieces
    edges = [len(text) * part // _FEWEST for part in range(_FEWEST + 1)]
    return [text[start:end] for start, end in pairwise(edges) if start < end]


def _make_delta(choice: Mapping[str, Any], delta: bytes, *, ends: bool = False) -> bytes:
    index = encode(choice.get("index", 0))
    reason = encode(choice.get("finish_reason")) if ends else b"null"
    return b'{"index":%b,"delta":%b,"logprobs":null,"finish_reason":%b}' % (index, delta, reason)


def _split_delta(message: Mapping[str, Any]) -> Iterator[bytes]:
    text, calls = message.get("content"), message.get("tool_calls") or ()
    role = message.get("role", "assistant")
    yield encode({"role": role, "content": None if calls and text is None else "", "refusal": None})
    for piece in split_text(text or ""):
        yield b'{"content":%b}' % encode(piece)
    for piece in split_text(message.get("refusal") or ""):
        yield b'{"refusal":%b}' % encode(piece)
    for index, call in enumerate(calls):
        yield from _split_call(index, call)


def _split_call(index: int, call: Mapping[str, Any]) -> Iterator[bytes]:
    kind = call.get("type", "function")
    inner = dict(call.get(kind) or {})
    field = "input" if kind == "custom" else "arguments"
    text = inner.get(field) or ""
    yield encode(
        {"tool_calls": [{"index": index, "id": call.get("id"), "type": kind, kind: {**inner, field: ""}}]}
    )
    for piece in split_text(text):
        yield encode({"tool_calls": [{"index": index, kind: {field: piece}}]})
