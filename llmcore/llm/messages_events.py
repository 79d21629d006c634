"""Write the stream of an answer as the events of the Messages API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.llm.documents import find_stop_reason, make_id, merge_ends, write_message_usage
from llmcore.types import Delta, Reply, ToolCall, Usage, WireEvent

__all__ = ["MessagesWriter", "replay_message"]

_PIECES: Final[Mapping[str, tuple[str, str]]] = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
}
"""Kind of block -> the kind of its deltas, and the field that contains the text."""
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def _make_event(name: str, owner: Delta | None = None, /, **fields: Any) -> WireEvent:
    return WireEvent(data=_encode({"type": name, **fields}), name=name, delta=owner)


class MessagesWriter:
    """Writes deltas as events.

    The blocks are in the order in which reasoning, text and tool calls arrive.
    """

    def __init__(self) -> None:
        self._is_begun = False
        self._open: tuple[str, int] | None = None
        """The kind of the open block, and the index of its tool call (0 for other blocks)."""
        self._index = -1
        self._calls: dict[int, int] = {}
        """Index of the call -> index of the block that contains the call."""
        self._is_refused = False
        self._last: Delta | None = None

    def write(self, delta: Delta) -> Iterator[WireEvent]:
        """Yield the events of *delta*.

        The events that end the message are written by `end`, because the usage may arrive later.
        """
        if not self._is_begun:
            self._is_begun = True
            yield from self._begin(delta.model)
        owner: Delta | None = delta  # attach the delta to its first `content_block_delta`
        for event in self._write_content(delta):
            is_owner = owner is not None and event.name == "content_block_delta"
            yield msgspec.structs.replace(event, delta=owner) if is_owner else event
            owner = None if is_owner else owner
        self._is_refused = self._is_refused or bool(delta.refusal)
        if delta.finish_reason or delta.usage is not None:
            self._last = merge_ends(self._last, delta)

    def end(self) -> Iterator[WireEvent]:
        """Yield the events that end the message."""
        if not self._is_begun:
            return
        yield from self._close()
        last = self._last or Delta()
        ended = {
            "stop_reason": find_stop_reason(last.finish_reason, refused=self._is_refused),
            "stop_sequence": None,
        }
        usage = write_message_usage(last.usage or Usage())
        yield _make_event("message_delta", self._last, delta=ended, usage=usage)
        yield _make_event("message_stop")

    def _begin(self, model: str) -> Iterator[WireEvent]:
        message: dict[str, Any] = {
            "id": make_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_message_usage(Usage()),
        }
        yield _make_event("message_start", message=message)

    def _write_content(self, delta: Delta) -> Iterator[WireEvent]:
        if delta.reasoning:
            yield from self._write_text("thinking", delta.reasoning)
        if delta.text:
            yield from self._write_text("text", delta.text)
        if delta.refusal:
            yield from self._write_text("text", delta.refusal)
        for call in delta.tool_calls:
            yield from self._write_call(call)

    def _write_text(self, kind: str, text: str) -> Iterator[WireEvent]:
        name, field = _PIECES[kind]
        if self._open != (kind, 0):
            empty = {"signature": ""} if kind == "thinking" else {}
            yield from self._start((kind, 0), {"type": kind, field: "", **empty})
        yield _make_event("content_block_delta", index=self._index, delta={"type": name, field: text})

    def _write_call(self, call: ToolCall) -> Iterator[WireEvent]:
        if call.index not in self._calls:
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield from self._start(("tool_use", call.index), block)
            self._calls[call.index] = self._index
        if call.arguments or call.name:
            piece = {"type": "input_json_delta", "partial_json": call.arguments}
            yield _make_event("content_block_delta", index=self._calls[call.index], delta=piece)

    def _start(self, kind: tuple[str, int], block: Mapping[str, Any]) -> Iterator[WireEvent]:
        yield from self._close()
        self._open = kind
        self._index += 1
        yield _make_event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> Iterator[WireEvent]:
        if self._open is not None:
            self._open = None
            yield _make_event("content_block_stop", index=self._index)


def replay_message(reply: Reply) -> Iterator[WireEvent]:
    """Yield the events of *reply*, whose document is a message.

    The delta of the first event has the content. The delta of the last event but one has the other fields of the
    reply.
    """
    document = reply.raw
    content = Delta(
        text=reply.text,
        reasoning=reply.reasoning,
        refusal=reply.refusal,
        tool_calls=reply.tool_calls,
        logprobs=reply.logprobs,
        model=reply.model,
    )
    end = Delta(
        finish_reason=reply.finish_reason,
        usage=reply.usage,
        model=reply.model,
        service_tier=reply.service_tier,
        request_id=reply.request_id,
        body=reply.body,
    )
    usage = document.get("usage")
    begun = {**document, "content": [], "stop_reason": None, "stop_sequence": None}
    yield _make_event("message_start", content if content.has_content else None, message=begun)
    blocks = [block for block in document["content"] if isinstance(block, Mapping)]
    for index, block in enumerate(blocks):
        yield from _replay_block(index, block)
    ended = {
        name: document.get(name)
        for name in ("stop_reason", "stop_sequence", "stop_details")
        if name in document
    }
    yield _make_event("message_delta", end, delta=ended, usage=usage)
    yield _make_event("message_stop")


def _replay_block(index: int, block: Mapping[str, Any]) -> Iterator[WireEvent]:
    kind = str(block.get("type"))
    pieces: list[dict[str, Any]] = []
    start = dict(block)
    if kind in _PIECES:
        name, field = _PIECES[kind]
        start[field] = ""
        pieces.append({"type": name, field: block.get(field) or ""})
        if kind == "thinking":
            start["signature"] = ""
            pieces.append({"type": "signature_delta", "signature": block.get("signature") or ""})
        if kind == "text" and block.get("citations"):
            start["citations"] = []
            pieces += [{"type": "citations_delta", "citation": each} for each in block["citations"]]
    elif "input" in block:
        start["input"] = {}
        given = block["input"]
        pieces.append(
            {
                "type": "input_json_delta",
                "partial_json": given if isinstance(given, str) else _encode(given).decode(),
            }
        )
    yield _make_event("content_block_start", index=index, content_block=start)
    for piece in pieces:
        yield _make_event("content_block_delta", index=index, delta=piece)
    yield _make_event("content_block_stop", index=index)
