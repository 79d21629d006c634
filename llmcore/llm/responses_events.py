"""Write a complete answer of the Responses API as the events of its stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.types import Delta, Reply, WireEvent

__all__ = ["replay_response"]

_CALLS: Final = {
    "function_call": ("arguments", "function_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
}
"""Type of a call -> the field with its text, and the name of the events that carry pieces of the text."""
_TEXTS: Final = {"output_text": ("text", "output_text"), "refusal": ("refusal", "refusal")}
"""Type of a message part -> the field with its text, and the name of the events that carry pieces of the text."""

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def replay_response(reply: Reply) -> Iterator[WireEvent]:
    """Yield the events of *reply*, whose document has the format of the Responses API.

    The delta of the last event before the items has the content. The delta of the last event of all has the other
    fields of the reply.
    """
    document = reply.raw if isinstance(reply.raw, dict) else {}
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
    begun = {**document, "status": "in_progress", "output": [], "usage": None}
    last = "response.incomplete" if document.get("status") == "incomplete" else "response.completed"
    events = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        *_iterate_items(document),
        (last, {"response": document}),
    ]
    deltas = {"response.in_progress": content if content.has_content else None, last: end}
    for number, (name, fields) in enumerate(events):
        data = _encode({"type": name, "sequence_number": number, **fields})
        yield WireEvent(data=data, name=name, delta=deltas.get(name))


def _iterate_items(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    output = document.get("output")
    for index, item in enumerate(output if isinstance(output, list) else []):
        if not isinstance(item, dict):
            continue
        where = {"output_index": index}
        ids = {"item_id": item.get("id"), **where}
        kind = item.get("type")
        if kind == "message":
            yield (
                "response.output_item.added",
                {**where, "item": {**item, "status": "in_progress", "content": []}},
            )
            yield from _iterate_message(item, ids)
        elif kind == "reasoning":
            yield "response.output_item.added", {**where, "item": {**item, "summary": []}}
            yield from _iterate_summary(item, ids)
        elif kind in _CALLS:
            field, events = _CALLS[kind]
            yield (
                "response.output_item.added",
                {**where, "item": {**item, "status": "in_progress", field: ""}},
            )
            yield f"response.{events}.delta", {**ids, "delta": item.get(field)}
            yield f"response.{events}.done", {**ids, field: item.get(field)}
        else:  # a call of a tool that the server runs
            yield "response.output_item.added", {**where, "item": item}
        yield "response.output_item.done", {**where, "item": item}


def _iterate_message(item: Mapping[str, Any], ids: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    content = item.get("content")
    for index, part in enumerate(content if isinstance(content, list) else []):
        if not isinstance(part, dict):
            continue
        where = {**ids, "content_index": index}
        kind = part.get("type")
        yield "response.content_part.added", {**where, "part": part}
        if kind in _TEXTS:
            field, events = _TEXTS[kind]
            logprobs = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
            yield f"response.{events}.delta", {**where, "delta": part.get(field), **logprobs}
            yield f"response.{events}.done", {**where, field: part.get(field), **logprobs}
        yield "response.content_part.done", {**where, "part": part}


def _iterate_summary(item: Mapping[str, Any], ids: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    summary = item.get("summary")
    for index, part in enumerate(summary if isinstance(summary, list) else []):
        if not isinstance(part, dict):
            continue
        where = {**ids, "summary_index": index}
        yield "response.reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**where, "delta": part.get("text")}
        yield "response.reasoning_summary_text.done", {**where, "text": part.get("text")}
        yield "response.reasoning_summary_part.done", {**where, "part": part}
