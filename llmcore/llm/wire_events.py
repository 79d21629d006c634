"""Wire events: streams in a vendor's format, as the upstream sends them or written from our deltas and replies."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.calls.pieces import convert_pieces
from llmcore.llm.assembly import Assembly
from llmcore.llm.chat_format import find_document, write_delta, write_usage
from llmcore.llm.responses_events import replay_response
from llmcore.types import Delta, Reply, WireEvent

__all__ = ["replay_events", "write_events"]

_DONE: Final = WireEvent(data=b"[DONE]")
"""The last event of a stream of Chat Completions."""

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class _EventWriter:
    """Turns the deltas of one stream into events."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._assembly = Assembly()
        """The deltas that had no event, for an API whose events need the whole document."""
        self._frame: dict[str, Any] = {}
        self._begun: set[int] = set()
        """The choices that have begun: the first event of each names the role."""
        self._is_written = False
        """Whether events were written here, so that no `[DONE]` came from the upstream."""

    def convert(self, piece: Delta | WireEvent) -> Iterator[WireEvent]:
        """Yield the events of *piece*: that of the upstream, or written ones if there was none."""
        if isinstance(piece, WireEvent):  # of a replay
            yield piece
        elif piece.raw is None and self._api == "responses":
            self._assembly.add(piece)
            if piece.body:
                yield from replay_response(self._assembly.build_reply())
        elif piece.raw is None:
            self._is_written = True
            yield from self._write(piece)
        elif piece.raw:  # else it belongs to the event of the delta before it
            yield WireEvent(data=piece.raw, name=piece.event_name, delta=piece if piece.has_content else None)

    def end(self) -> Iterator[WireEvent]:
        """Yield what remains after the last piece."""
        if self._is_written:
            yield _DONE

    def _write(self, delta: Delta) -> Iterator[WireEvent]:
        if not self._frame:
            self._frame = _make_frame({"id": f"chatcmpl-{os.urandom(12).hex()}", "created": int(time.time())})
        frame = {**self._frame, "model": delta.model}
        if delta.service_tier:
            frame["service_tier"] = delta.service_tier
        fields = write_delta(delta)
        if delta.choice not in self._begun:
            self._begun.add(delta.choice)
            fields = {"role": "assistant", **fields}
        choice = _make_choice(delta.choice, fields, delta.finish_reason, delta.logprobs)
        yield WireEvent(data=_encode({**frame, "choices": [choice]}), delta=delta)
        if delta.usage is not None:
            yield WireEvent(data=_encode({**frame, "choices": [], "usage": write_usage(delta.usage)}))


def write_events(call: Generator[Any, Any, Any], api: str) -> Generator[Any, Any, None]:
    """Run *call* and emit its pieces as events of *api*."""
    writer = _EventWriter(api)
    yield from convert_pieces(call, writer.convert)
    yield from writer.end()


def replay_events(reply: Reply, api: str) -> Iterator[WireEvent]:
    """Yield a complete answer as the events of a stream of *api*."""
    return replay_response(reply) if api == "responses" else _replay_chat(reply)


def _replay_chat(reply: Reply) -> Iterator[WireEvent]:
    """Yield the events of Chat Completions: each choice, its end, the usage, `[DONE]`."""
    document = find_document(reply)
    frame = _make_frame(document)
    choices = sorted(document["choices"], key=_get_index)
    parts = reply.choices
    for index, choice in enumerate(choices):
        message = choice.get("message")
        fields = _make_fields(message if isinstance(message, Mapping) else {})
        delta = None
        if index < len(parts):
            part = parts[index]
            delta = Delta(
                choice=index,
                text=part.text,
                reasoning=part.reasoning,
                refusal=part.refusal,
                logprobs=part.logprobs,
                tool_calls=part.tool_calls,
                model=reply.model,
            )
        sent = _make_choice(index, fields, None, choice.get("logprobs"))
        yield WireEvent(data=_encode({**frame, "choices": [sent]}), delta=delta)
    for index, choice in reversed(list(enumerate(choices))):
        delta = None
        if index < len(parts):
            delta = Delta(choice=index, finish_reason=parts[index].finish_reason, model=reply.model)
        if index == 0 and delta is not None:
            delta = msgspec.structs.replace(
                delta,
                usage=reply.usage,
                service_tier=reply.service_tier,
                request_id=reply.request_id,
                body=reply.body,
            )
        sent = _make_choice(index, {}, choice.get("finish_reason"))
        yield WireEvent(data=_encode({**frame, "choices": [sent]}), delta=delta)
    if document.get("usage") is not None:
        yield WireEvent(data=_encode({**frame, "choices": [], "usage": document["usage"]}))
    yield _DONE


def _make_frame(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a completion that each of its chunks has."""
    frame = {name: value for name, value in document.items() if name not in {"choices", "usage"}}
    return {**frame, "object": "chat.completion.chunk"}


def _make_choice(
    index: int, fields: Mapping[str, Any], finish_reason: str | None, logprobs: Any = None
) -> dict[str, Any]:
    return {"index": index, "delta": fields, "logprobs": logprobs, "finish_reason": finish_reason}


def _make_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as one delta, whose calls are numbered."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return dict(message)
    numbered = [{"index": index, **call} for index, call in enumerate(calls) if isinstance(call, Mapping)]
    return {**message, "tool_calls": numbered}


def _get_index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0
