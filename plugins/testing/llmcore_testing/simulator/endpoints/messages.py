"""Anthropic's Messages: validate a request, translate to and from a chat, and split an answer into events.

Scripted replies work here too, because the simulator first makes each answer as a chat completion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmcore_testing.simulator.chunks import split_text
from llmcore_testing.simulator.endpoints.anthropic_errors import refuse_request
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.openai_common import make_id
from llmcore_testing.simulator.wire import Answer, encode

__all__ = [
    "apply_fault",
    "check_messages",
    "make_big_message",
    "make_events",
    "make_message",
    "rename_usage",
    "translate_to_chat",
]

_BLOCK_BYTES: Final = 64 * 1024
_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_CHOICES: Final = {"any": "required", "auto": "auto", "none": "none"}


def check_messages(body: Mapping[str, Any]) -> None:
    """Check the required fields and the common parameters.

    Raises:
        Refused: The request is invalid. The message describes the first error.
    """
    limit = body.get("max_tokens")
    if limit is None:
        raise refuse_request("max_tokens: Field required")
    if type(limit) is not int or limit < 1:
        raise refuse_request("max_tokens: Input should be a valid integer greater than or equal to 1")
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise refuse_request("messages: Input should be a valid list")
    if not messages:
        raise refuse_request("messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_message(f"messages.{index}", message, is_first=index == 0)
    temperature = body.get("temperature")
    if temperature is not None and not (isinstance(temperature, int | float) and 0 <= temperature <= 1):
        raise refuse_request("temperature: range: 0..1")
    for index, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool, dict) or not tool.get("name"):
            raise refuse_request(f"tools.{index}.name: Field required")


def _check_message(where: str, message: Any, *, is_first: bool) -> None:
    if not isinstance(message, dict):
        raise refuse_request(f"{where}: Input should be a valid dictionary")
    roles = {"user", "assistant"} if is_first else {"user", "assistant", "system"}
    if message.get("role") not in roles:
        raise refuse_request(f"{where}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise refuse_request(f"{where}.content: Input should be a valid string or list")
    if isinstance(content, str) and not content.strip():
        raise refuse_request(f"{where}: text content blocks must contain non-whitespace text")
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise refuse_request(f"{where}.content.{index}.type: Field required")
        if block["type"] == "text" and not str(block.get("text") or "").strip():
            raise refuse_request(f"{where}: text content blocks must contain non-whitespace text")


def translate_to_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Translate *body* to a Chat Completions request. Fields that the simulator ignores are dropped."""
    system = body.get("system")
    messages: list[dict[str, Any]] = [{"role": "system", "content": _join(system)}] if system else []
    messages += [
        {"role": message["role"], "content": _join(message["content"])} for message in body["messages"]
    ]
    chat: dict[str, Any] = {
        "model": body["model"],
        "messages": messages,
        "max_tokens": body.get("max_tokens"),
    }
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    tools = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    choice = body.get("tool_choice") or {}
    if tools:
        chat["tools"] = [
            {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
            for tool in tools
        ]
        if choice.get("type") == "tool":
            chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        else:
            chat["tool_choice"] = _CHOICES.get(choice.get("type", "auto"), "auto")
    wanted = (body.get("output_config") or {}).get("format")
    if isinstance(wanted, dict):
        schema = {"name": "answer", "schema": wanted.get("schema") or {}}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat


def make_message(completion: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Translate *completion* to a message."""
    choice = (completion.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    content: list[dict[str, Any]] = []
    thinking = (body.get("thinking") or {}).get("type") in {"enabled", "adaptive"}
    reasoning = message.get("reasoning") or ("The question is read, and answered." if thinking else None)
    if reasoning:
        content.append({"type": "thinking", "thinking": reasoning, "signature": "c2ltdWxhdGVk"})
    if message.get("content"):
        content.append({"type": "text", "text": message["content"]})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = json.loads(function.get("arguments") or "{}")
        content.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments})
    reason = choice.get("finish_reason")
    if any(block["type"] == "tool_use" for block in content):
        reason = "tool_calls"
    usage = completion.get("usage") or {}
    return {
        "id": make_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": completion.get("model", ""),
        "content": content,
        "stop_reason": "refusal" if message.get("refusal") else _REASONS.get(reason, reason),
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.get("prompt_tokens", 0),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": usage.get("completion_tokens", 0),
            "service_tier": "standard",
        },
    }


def apply_fault(message: dict[str, Any], fault: Fault) -> dict[str, Any]:
    """Apply the content fault *fault* to the message."""
    match fault.kind:
        case "missing_usage":
            return {name: value for name, value in message.items() if name != "usage"}
        case "usage":
            return {**message, "usage": rename_usage(fault.settings)}
        case "no_choices":
            return {**message, "content": []}
        case "no_finish_reason":
            return {**message, "stop_reason": None}
        case _:
            return {"object": "simulated.surprise", "result": {"text": "This is not a message."}}


def make_events(message: Mapping[str, Any]) -> tuple[list[bytes], int]:
    """Return the events, and the index of the event with the stop_reason."""
    if "content" not in message:
        return [_format_event("surprise", {"type": "surprise", **message})], 1
    usage = message.get("usage")
    start = {**message, "content": [], "stop_reason": None}
    if isinstance(usage, Mapping):
        start["usage"] = {**usage, "output_tokens": min(1, usage.get("output_tokens") or 0)}
    events = [
        _format_event("message_start", {"type": "message_start", "message": start}),
        _format_event("ping", {"type": "ping"}),
    ]
    for index, block in enumerate(message["content"]):
        events += _split_block(index, block)
    end = len(events)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": message.get("stop_sequence")}
    last: dict[str, Any] = {"type": "message_delta", "delta": delta}
    if usage is not None:
        last["usage"] = usage
    return [
        *events,
        _format_event("message_delta", last),
        _format_event("message_stop", {"type": "message_stop"}),
    ], end


def make_big_message(body: Mapping[str, Any], size: int) -> Answer:
    """Return an answer with a text of *size* bytes."""
    message: dict[str, Any] = {
        "id": make_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": str(body.get("model")),
        "content": [{"type": "text", "text": "@"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": size // 4},
    }
    if not body.get("stream"):
        front, _, back = encode(message).partition(b"@")
        return Answer(
            pieces=_fill(front, size, back), length=len(front) + size + len(back), counted="messages"
        )
    return Answer(
        pieces=_fill_events(message, size),
        content_type="text/event-stream; charset=utf-8",
        streamed=True,
        counted="streams",
    )


def _fill(front: bytes, size: int, back: bytes) -> Iterator[bytes]:
    yield front
    block = b"x" * _BLOCK_BYTES
    for start in range(0, size, _BLOCK_BYTES):
        yield block[: size - start]
    yield back


def _fill_events(message: dict[str, Any], size: int) -> Iterator[bytes]:
    (first, ping, opening, *_), _end = make_events(message)
    yield from (first, ping, opening)
    for start in range(0, size, _BLOCK_BYTES):
        yield _make_delta(0, {"type": "text_delta", "text": "x" * min(_BLOCK_BYTES, size - start)})
    yield _format_event("content_block_stop", {"type": "content_block_stop", "index": 0})
    last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": message["usage"]}
    yield _format_event("message_delta", last)
    yield _format_event("message_stop", {"type": "message_stop"})


def _split_block(index: int, block: Mapping[str, Any]) -> Iterator[bytes]:
    kind = block["type"]
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    opening = {**block, **empty.get(kind, {})}
    yield _format_event(
        "content_block_start", {"type": "content_block_start", "index": index, "content_block": opening}
    )
    if kind == "text":
        for piece in split_text(block["text"]):
            yield _make_delta(index, {"type": "text_delta", "text": piece})
    elif kind == "thinking":
        for piece in split_text(block["thinking"]):
            yield _make_delta(index, {"type": "thinking_delta", "thinking": piece})
        yield _make_delta(index, {"type": "signature_delta", "signature": block["signature"]})
    elif kind == "tool_use":
        for piece in ("", *split_text(encode(block["input"]).decode())):
            yield _make_delta(index, {"type": "input_json_delta", "partial_json": piece})
    yield _format_event("content_block_stop", {"type": "content_block_stop", "index": index})


def _make_delta(index: int, delta: Mapping[str, Any]) -> bytes:
    return _format_event(
        "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
    )


def _format_event(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"


def rename_usage(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Rename Chat Completions' usage fields to Anthropic's names. Drop `total_tokens`, and keep all other fields."""
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    return {names.get(name, name): value for name, value in fields.items() if name != "total_tokens"}


def _join(content: Any) -> str:
    """Return the texts of *content*, joined by newlines.

    A tool call becomes its input as JSON. Any other part without text becomes its type.
    """
    if isinstance(content, str):
        return content
    texts: list[str] = []
    blocks: Sequence[Any] = content if isinstance(content, list) else []
    for block in blocks:
        if block.get("type") == "tool_result":
            texts.append(_join(block.get("content")))
        elif block.get("type") == "tool_use":
            texts.append(encode(block.get("input")).decode())
        else:
            texts.append(str(block.get("text") or block["type"]))
    return "\n".join(texts)
