"""Write the stream of an answer as the events of Chat Completions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.llm.chat_format import find_document, write_delta, write_tier, write_usage
from llmcore.types import Delta, Reply, WireEvent

__all__ = ["ChatWriter", "replay_chat"]

_DONE: Final = WireEvent(data=b"[DONE]")
"""The last event of a stream."""

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class ChatWriter:
    """Writes deltas as events."""

    def __init__(self) -> None:
        self._frame: dict[str, Any] = {}
        self._begun: set[int] = set()
        """The choices that have begun. The first event of each choice must name the role."""

    def write(self, delta: Delta) -> Iterator[WireEvent]:
        """Yield the events of *delta*."""
        if not self._frame:
            self._frame = _make_frame({"id": f"chatcmpl-{os.urandom(12).hex()}", "created": int(time.time())})
        frame = {**self._frame, "model": delta.model, **write_tier(delta.service_tier)}
        fields = write_delta(delta)
        if delta.choice not in self._begun:
            self._begun.add(delta.choice)
            fields = {"role": "assistant", **fields}
        choice = _make_choice(delta.choice, fields, delta.finish_reason, delta.logprobs)
        yield WireEvent(data=_encode({**frame, "choices": [choice]}), delta=delta)
        if delta.usage is not None:
            yield WireEvent(data=_encode({**frame, "choices": [], "usage": write_usage(delta.usage)}))

    def end(self) -> Iterator[WireEvent]:
        """Yield the events that follow the last delta."""
        if self._frame:
            yield _DONE


def replay_chat(reply: Reply) -> Iterator[WireEvent]:
    """Yield *reply* as events of Chat Completions: the content of all choices, their ends, the usage, `[DONE]`."""
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
    """Return the fields that each chunk repeats: those of *document* except `choices` and `usage`."""
    frame = {name: value for name, value in document.items() if name not in {"choices", "usage"}}
    return {**frame, "object": "chat.completion.chunk"}


def _make_choice(
    index: int, fields: Mapping[str, Any], finish_reason: str | None, logprobs: Any = None
) -> dict[str, Any]:
    return {"index": index, "delta": fields, "logprobs": logprobs, "finish_reason": finish_reason}


def _make_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as one delta with numbered tool calls."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return dict(message)
    numbered = [{"index": index, **call} for index, call in enumerate(calls) if isinstance(call, Mapping)]
    return {**message, "tool_calls": numbered}


def _get_index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0
