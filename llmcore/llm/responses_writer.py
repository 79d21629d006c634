"""Write a streamed answer as events of the Responses API, for a backend that uses another API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from llmcore.llm.assembly import Assembly
from llmcore.llm.documents import make_id, merge_ends, write_response
from llmcore.types import Delta, ToolCall, WireEvent

__all__ = ["ResponsesWriter"]

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_TEXTS: Final = {"output_text": "text", "refusal": "refusal"}
"""Kind of message part -> the field that contains its text."""


class ResponsesWriter:
    """Writes deltas as events.

    The items are in the order in which reasoning, text and tool calls arrive.
    """

    def __init__(self) -> None:
        self._number = 0
        self._id = make_id("resp_")
        self._assembly = Assembly()
        self._output: list[dict[str, Any]] = []
        self._is_open = False
        """True if the last item of the output may still grow."""
        self._calls: dict[int, int] = {}
        """Index of the call -> index of the output item that contains the call."""
        self._last: Delta | None = None

    def write(self, delta: Delta) -> Iterator[WireEvent]:
        """Yield the events of *delta*.

        The events that end the response are written by `end`, because the usage may arrive later.
        """
        if not self._number:
            begun = write_response(self._id, None, [], delta.model)
            yield self._make_event("response.created", response=begun)
            yield self._make_event("response.in_progress", response=begun)
        self._assembly.add(delta)
        owner: Delta | None = delta  # attach the delta to the first event with content
        for event in self._write_content(delta):
            is_owner = owner is not None and (event.name or "").endswith(".delta")
            yield msgspec.structs.replace(event, delta=owner) if is_owner else event
            owner = None if is_owner else owner
        if delta.finish_reason or delta.usage is not None:
            self._last = merge_ends(self._last, delta)

    def end(self) -> Iterator[WireEvent]:
        """Yield the end of the response."""
        if not self._number:
            return
        yield from self._close()
        reply = self._assembly.build_reply()
        if not self._output:  # an empty answer is a message without text
            yield from self._write_text("output_text", "")
            yield from self._close()
        document = write_response(self._id, reply, self._output)
        name = "response.incomplete" if document["status"] == "incomplete" else "response.completed"
        yield self._make_event(name, self._last, response=document)

    def _write_content(self, delta: Delta) -> Iterator[WireEvent]:
        if delta.reasoning:
            yield from self._write_reasoning(delta.reasoning)
        if delta.text:
            logprobs = (delta.logprobs or {}).get("content")
            yield from self._write_text("output_text", delta.text, logprobs)
        if delta.refusal:
            yield from self._write_text("refusal", delta.refusal)
        for call in delta.tool_calls:
            yield from self._write_call(call)

    def _write_reasoning(self, text: str) -> Iterator[WireEvent]:
        if not self._is_in("reasoning"):
            yield from self._start({"id": make_id("rs_"), "type": "reasoning", "summary": []})
            part = {"type": "summary_text", "text": ""}
            self._output[-1]["summary"].append(dict(part))
            yield self._make_event(
                "response.reasoning_summary_part.added", **self._place(summary_index=0), part=part
            )
        self._output[-1]["summary"][0]["text"] += text
        yield self._make_event(
            "response.reasoning_summary_text.delta", **self._place(summary_index=0), delta=text
        )

    def _write_text(self, kind: str, text: str, logprobs: Any = None) -> Iterator[WireEvent]:
        if not self._is_in("message"):
            yield from self._start(
                {
                    "id": make_id("msg_"),
                    "type": "message",
                    "status": "in_progress",
                    "role": "assistant",
                    "content": [],
                }
            )
        parts = self._output[-1]["content"]
        field = _TEXTS[kind]
        if not parts or parts[-1]["type"] != kind:
            yield from self._close_part()
            more: dict[str, Any] = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
            parts.append({"type": kind, field: "", **more})
            place = self._place(content_index=len(parts) - 1)
            yield self._make_event("response.content_part.added", **place, part=dict(parts[-1]))
        parts[-1][field] += text
        more = {}
        if kind == "output_text":
            parts[-1]["logprobs"] += logprobs or []
            more = {"logprobs": logprobs or []}
        place = self._place(content_index=len(parts) - 1)
        yield self._make_event(f"response.{kind}.delta", **place, delta=text, **more)

    def _write_call(self, call: ToolCall) -> Iterator[WireEvent]:
        if call.index not in self._calls:
            item = {
                "id": make_id("fc_"),
                "type": "function_call",
                "status": "in_progress",
                "call_id": call.id,
                "name": call.name,
                "arguments": "",
            }
            yield from self._start(item)
            self._calls[call.index] = len(self._output) - 1
        index = self._calls[call.index]
        self._output[index]["arguments"] += call.arguments
        place = {"item_id": self._output[index]["id"], "output_index": index}
        yield self._make_event("response.function_call_arguments.delta", **place, delta=call.arguments)

    def _is_in(self, kind: str) -> bool:
        return self._is_open and self._output[-1]["type"] == kind

    def _start(self, item: dict[str, Any]) -> Iterator[WireEvent]:
        yield from self._close()
        self._output.append(item)
        self._is_open = True
        shown = msgspec.json.decode(_encode(item))  # a copy, because the item still grows
        yield self._make_event("response.output_item.added", output_index=len(self._output) - 1, item=shown)

    def _close(self) -> Iterator[WireEvent]:
        """Yield the end of the open item."""
        if not self._is_open:
            return
        item = self._output[-1]
        if item["type"] == "message":
            yield from self._close_part()
            item["status"] = "completed"
        elif item["type"] == "reasoning":
            part, place = item["summary"][0], self._place(summary_index=0)
            yield self._make_event("response.reasoning_summary_text.done", **place, text=part["text"])
            yield self._make_event("response.reasoning_summary_part.done", **place, part=part)
        else:
            item["status"] = "completed"
            arguments = {"name": item["name"], "arguments": item["arguments"]}
            yield self._make_event("response.function_call_arguments.done", **self._place(), **arguments)
        self._is_open = False
        yield self._make_event("response.output_item.done", output_index=len(self._output) - 1, item=item)

    def _close_part(self) -> Iterator[WireEvent]:
        """Yield the end of the last part of the open message."""
        parts = self._output[-1]["content"]
        if not parts:
            return
        part, place = parts[-1], self._place(content_index=len(parts) - 1)
        field = _TEXTS[part["type"]]
        more = {"logprobs": part["logprobs"]} if part["type"] == "output_text" else {}
        yield self._make_event(f"response.{part['type']}.done", **place, **{field: part[field]}, **more)
        yield self._make_event("response.content_part.done", **place, part=part)

    def _place(self, **index: int) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1, **index}

    def _make_event(self, event_name: str, owner: Delta | None = None, /, **fields: Any) -> WireEvent:
        data = _encode({"type": event_name, "sequence_number": self._number, **fields})
        self._number += 1
        return WireEvent(data=data, name=event_name, delta=owner)
