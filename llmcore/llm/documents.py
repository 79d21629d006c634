"""Write the document of an answer in the format that the caller asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from llmcore.llm.chat_format import make_document, write_tier
from llmcore.support.finish_reasons import normalise_finish_reason
from llmcore.types import Choice, Delta, Reply, ToolCall, Usage

__all__ = ["complete_document", "find_stop_reason", "make_id", "merge_ends", "recognise", "write_message_usage", "write_response"]  # fmt: skip

_STOP_REASONS: Final[Mapping[str | None, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class _Shape(msgspec.Struct):
    """The fields by which a document is recognised. The values of these fields are not decoded."""

    choices: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()


_decode_shape: Final = msgspec.json.Decoder(_Shape).decode


def recognise(body: bytes) -> str | None:
    """Return the API whose format the document *body* has; None if no API matches."""
    if not body:
        return None
    try:
        shape = _decode_shape(body)
    except ValueError:  # msgspec's errors are ValueErrors
        return None
    for api, field in (("chat", shape.choices), ("responses", shape.output), ("messages", shape.content)):
        if bytes(field)[:1] == b"[":
            return api
    return None


def complete_document(reply: Reply, api: str) -> Reply:
    """Return *reply* with a document in the format of *api*.

    A provider may return no document, or a document of another API.
    """
    if api not in _MAKERS or recognise(reply.body) == api:
        return reply
    return msgspec.structs.replace(reply, body=_encode(_MAKERS[api](reply)))


def make_id(prefix: str) -> str:
    """Return a new id, such as `msg_0a1b...`."""
    return prefix + os.urandom(12).hex()


def merge_ends(before: Delta | None, delta: Delta) -> Delta:
    """Return one delta that ends an answer: the fields of *delta*, completed from *before*.

    The usage may arrive in a later delta than the finish reason.
    """
    names = ("finish_reason", "usage", "model", "service_tier", "request_id", "body", "limits")
    return Delta(**{name: getattr(delta, name) or getattr(before or delta, name) for name in names})


# -- Messages


def _make_message(reply: Reply) -> dict[str, Any]:
    """Return *reply* as a message of the Messages API."""
    content: list[dict[str, Any]] = []
    if reply.reasoning:
        content.append({"type": "thinking", "thinking": reply.reasoning, "signature": ""})
    if reply.text or reply.refusal:
        content.append({"type": "text", "text": reply.text or reply.refusal})
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _read_arguments(call)}
        for call in reply.tool_calls
    ]
    return {
        "id": make_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": find_stop_reason(reply.finish_reason, refused=bool(reply.refusal)),
        "stop_sequence": None,
        "usage": write_message_usage(reply.usage),
    }


def find_stop_reason(finish_reason: str | None, *, refused: bool) -> str | None:
    """Return the `stop_reason` of the Messages API."""
    if refused:
        return "refusal"
    return _STOP_REASONS.get(normalise_finish_reason(finish_reason), finish_reason)


def _read_arguments(call: ToolCall) -> Any:
    """Return the arguments of *call* as a JSON value, or as text if they are not valid JSON."""
    try:
        return msgspec.json.decode(call.arguments) if call.arguments else {}
    except (ValueError, RecursionError):
        return call.arguments


def write_message_usage(usage: Usage) -> dict[str, Any]:
    """Return *usage* in the format of the Messages API.

    The `input_tokens` of this API include neither tokens read from the vendor's cache nor tokens written to this
    cache.
    """
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens),
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
    }


# -- Responses


def _make_response(reply: Reply) -> dict[str, Any]:
    """Return *reply* as a response of the Responses API."""
    return write_response(make_id("resp_"), reply, _write_output(reply))


def _write_output(reply: Reply) -> list[dict[str, Any]]:
    """Return *reply* as the output items of a response."""
    items: list[dict[str, Any]] = []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        items.append({"id": make_id("rs_"), "type": "reasoning", "summary": summary})
    if reply.text or reply.refusal or not reply.tool_calls:
        items.append(
            {
                "id": make_id("msg_"),
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": _write_parts(reply.choices[0]),
            }
        )
    items += [
        {
            "id": make_id("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in reply.tool_calls
    ]
    return items


def _write_parts(choice: Choice) -> list[dict[str, Any]]:
    logprobs = (choice.logprobs or {}).get("content")
    parts: list[dict[str, Any]] = []
    if choice.text or not choice.refusal:
        parts.append(
            {"type": "output_text", "text": choice.text, "annotations": [], "logprobs": logprobs or []}
        )
    if choice.refusal:
        parts.append({"type": "refusal", "refusal": choice.refusal})
    return parts


def write_response(
    response_id: str, reply: Reply | None, output: list[dict[str, Any]], model: str = ""
) -> dict[str, Any]:
    """Return a response with the items *output*. If *reply* is None, the response is in progress."""
    reason = None if reply is None else _INCOMPLETE.get(normalise_finish_reason(reply.finish_reason) or "")
    status = "completed" if reason is None else "incomplete"
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress" if reply is None else status,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": None,
        "metadata": {},
        "model": model if reply is None else reply.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None if reply is None else _write_response_usage(reply.usage),
        **({} if reply is None else write_tier(reply.service_tier)),
    }


def _write_response_usage(usage: Usage) -> dict[str, Any]:
    """Return *usage* in the format of the Responses API."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


_MAKERS: Final[Mapping[str, Callable[[Reply], dict[str, Any]]]] = {
    "chat": make_document,
    "responses": _make_response,
    "messages": _make_message,
}
