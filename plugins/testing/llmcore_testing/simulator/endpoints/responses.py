"""POST /v1/responses, plain and streaming.

The simulator makes a chat completion, and translates it to a response.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmcore_testing.simulator.chunks import split_text
from llmcore_testing.simulator.completions import complete
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.openai_common import make_headers, make_id, read_json_body, read_model
from llmcore_testing.simulator.openai_errors import make_invalid
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["answer_responses", "make_big_response"]

_NO_ANSWER: Final = frozenset({"no_choices", "wrong_schema"})
_BLOCK_BYTES: Final = 64 * 1024
_SUMMARY: Final = "The question is about this."


def answer_responses(call: Call) -> Answer:
    """Answer a Responses request, plain or streaming."""
    body = read_json_body(call)
    model = read_model(call, body)
    if not body.get("input") and not body.get("prompt"):
        raise make_invalid(
            "Missing required parameter: 'input'.", param="input", code="missing_required_parameter"
        )
    scripted = call.script.take_reply()
    scripted = call.settings.reply if scripted is None else scripted
    if callable(scripted):
        scripted = scripted(body)
    if isinstance(scripted, Mapping) and "output" in scripted:
        response = {**_make_frame(body, model), **scripted}
    else:
        response = _respond(body, model, scripted)
    usage = response.get("usage")
    spent = make_headers(usage.get("total_tokens", 0) if isinstance(usage, dict) else 0)
    whole = call.fault is None or call.fault.kind not in _NO_ANSWER
    if call.fault is not None:
        response = _apply_fault(response, call.fault)
    if not body.get("stream"):
        return Answer(pieces=(encode(response),), headers=spent, counted="chat" if whole else None)
    events = list(_write_events(response))
    return Answer(
        pieces=events,
        content_type="text/event-stream; charset=utf-8",
        headers={**spent, "cache-control": "no-cache"},
        streamed=True,
        cut_before=len(events) - 1,
        counted="streams" if whole else None,
        error_event=_make_error_event,
    )


def make_big_response(body: Mapping[str, Any], size: int) -> Answer:
    """Return an answer with a text of *size* bytes."""
    content = [{"type": "output_text", "text": "@", "annotations": []}]
    item = {
        "id": make_id("msg_"),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }
    usage = {"input_tokens": 1, "output_tokens": size // 4, "total_tokens": 1 + size // 4}
    response = {**_make_frame(body, str(body.get("model"))), "output": [item], "usage": usage}
    if not body.get("stream"):
        front, _, back = encode(response).partition(b"@")
        return Answer(pieces=_fill(front, size, back), length=len(front) + size + len(back), counted="chat")
    return Answer(
        pieces=_fill_events(response, size),
        content_type="text/event-stream; charset=utf-8",
        streamed=True,
        counted="streams",
    )


def _fill(front: bytes, size: int, back: bytes) -> Iterator[bytes]:
    yield front
    for start in range(0, size, _BLOCK_BYTES):
        yield b"x" * min(_BLOCK_BYTES, size - start)
    yield back


def _fill_events(response: Mapping[str, Any], size: int) -> Iterator[bytes]:
    """Yield the events of *response* with a text of *size* bytes.

    The deltas contain the text in blocks. Each later event that repeats the text contains the whole text.
    """
    for event in _write_events(response):
        if b'"delta"' in event:
            front, _, back = event.partition(b"@")
            for start in range(0, size, _BLOCK_BYTES):
                yield front + b"x" * min(_BLOCK_BYTES, size - start) + back
        else:
            yield event.replace(b'"@"', b'"' + b"x" * size + b'"')


def _make_error_event(message: str, code: str | None) -> bytes:
    error = {"type": "error", "sequence_number": 0, "code": code, "message": message, "param": None}
    return b"event: error\ndata: " + encode(error) + b"\n\n"


def _make_frame(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    return {
        "id": make_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "service_tier": "default" if body.get("service_tier") in (None, "auto") else body["service_tier"],
        "store": body.get("store", True),
        "tools": body.get("tools") or [],
        "tool_choice": body.get("tool_choice") or "auto",
    }


def _respond(body: Mapping[str, Any], model: str, scripted: Any) -> dict[str, Any]:
    """Answer the conversation as a chat completion, and translate the completion to a response."""
    completion = complete(_make_chat(body), model, scripted)
    choice = completion["choices"][0]
    message, counted = choice["message"], completion["usage"]
    output: list[dict[str, Any]] = []
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and reasoning.get("summary"):
        summary = [{"type": "summary_text", "text": message.get("reasoning") or _SUMMARY}]
        output.append({"id": make_id("rs_"), "type": "reasoning", "summary": summary})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        output.append(
            {
                "id": make_id("fc_"),
                "type": "function_call",
                "status": "completed",
                "call_id": call["id"],
                "name": function["name"],
                "arguments": function["arguments"],
            }
        )
    content: list[dict[str, Any]] = []
    if message.get("content"):
        content.append({"type": "output_text", "text": message["content"], "annotations": [], "logprobs": []})
    if message.get("refusal"):
        content.append({"type": "refusal", "refusal": message["refusal"]})
    if content:
        output.append(
            {
                "id": make_id("msg_"),
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": content,
            }
        )
    response = {
        **_make_frame(body, model),
        "output": output,
        "usage": {
            "input_tokens": counted["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": counted["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counted["total_tokens"],
        },
    }
    if choice["finish_reason"] == "length":
        response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return response


def _make_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the request to a Chat Completions request."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    messages = [
        {"role": item["role"], "content": item.get("content")}
        if isinstance(item, Mapping) and item.get("role")
        else {"role": "tool", "content": str(item.get("output") or item.get("arguments") or "")}
        for item in items
    ] or [{"role": "user", "content": "a stored prompt"}]
    chat: dict[str, Any] = {"messages": messages, "max_tokens": body.get("max_output_tokens")}
    functions = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    if functions:
        chat["tools"] = [{"type": "function", "function": tool} for tool in functions]
        choice = body.get("tool_choice")
        named = isinstance(choice, Mapping) and choice.get("name")
        chat["tool_choice"] = {"type": "function", "function": {"name": named}} if named else choice
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": wanted}
    elif wanted.get("type") == "json_object":
        chat["response_format"] = wanted
    return chat


def _apply_fault(response: dict[str, Any], fault: Fault) -> dict[str, Any]:
    match fault.kind:
        case "missing_usage":
            return {name: value for name, value in response.items() if name != "usage"}
        case "usage":
            return {**response, "usage": dict(fault.settings)}
        case "no_choices":
            return {**response, "output": []}
        case "no_finish_reason":
            return {**response, "status": None}
        case "wrong_schema":
            return {"object": "simulated.surprise", "result": {"text": "This is not a response."}}
        case _:
            return response


def _write_events(response: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the numbered server-sent events of *response*."""
    for number, (name, fields) in enumerate(_list_events(response)):
        data = encode({"type": name, "sequence_number": number, **fields})
        yield b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def _list_events(response: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(response.get("output") or ()):
        yield from _list_item_events(index, item)
    ending = "incomplete" if response.get("status") == "incomplete" else "completed"
    yield f"response.{ending}", {"response": response}


def _list_item_events(index: int, item: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    where = {"output_index": index}
    ids = {"item_id": item.get("id"), **where}
    empty: dict[str, Any] = {name: [] for name in ("content", "summary") if name in item}
    if item.get("type") == "function_call":
        empty["arguments"] = ""
    yield "response.output_item.added", {**where, "item": {**item, **empty}}
    for at, part in enumerate(item.get("summary") or ()):
        place = {**ids, "summary_index": at}
        yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
        for piece in split_text(part["text"]):
            yield "response.reasoning_summary_text.delta", {**place, "delta": piece}
        yield "response.reasoning_summary_text.done", {**place, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**place, "part": part}
    if item.get("type") == "function_call":
        for piece in split_text(item.get("arguments") or ""):
            yield "response.function_call_arguments.delta", {**ids, "delta": piece}
        yield "response.function_call_arguments.done", {**ids, "arguments": item.get("arguments")}
    for at, part in enumerate(item.get("content") or () if item.get("type") == "message" else ()):
        place = {**ids, "content_index": at}
        name = "refusal" if part["type"] == "refusal" else "output_text"
        text = part.get("refusal") or part.get("text") or ""
        empty = {"refusal" if name == "refusal" else "text": ""}
        yield "response.content_part.added", {**place, "part": {**part, **empty}}
        for piece in split_text(text):
            yield f"response.{name}.delta", {**place, "delta": piece}
        yield f"response.{name}.done", {**place, "refusal" if name == "refusal" else "text": text}
        yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {**where, "item": item}
