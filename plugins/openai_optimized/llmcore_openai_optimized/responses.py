"""Read the document of the Responses API: its text, reasoning, calls, usage and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.types import ChatRequest, Reply, ToolCall
from llmcore_openai_optimized.fields import read_text
from llmcore_openai_optimized.rate_limits import read_rate_limits
from llmcore_openai_optimized.usage import make_usage

__all__ = ["SEPARATOR", "is_call", "make_reply", "read_call"]

SEPARATOR: Final = "\n\n"
"""The text between the parts of the reasoning."""

_CALLS: Final = {"function_call": "function", "custom_tool_call": "custom"}
"""Kind of item that the application carries out -> the type of its `ToolCall`.

The server itself carries out all other kinds of call.
"""
_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_encode = msgspec.json.Encoder().encode


def make_reply(
    document: Mapping[str, Any], body: bytes, request: ChatRequest, headers: Mapping[str, str]
) -> Reply:
    """Return the reply in *document*, whose bytes are *body*."""
    items = [item for item in _read_list(document.get("output")) if isinstance(item, Mapping)]
    parts = [
        part for item in items if item.get("type") == "message" for part in _iterate_parts(item, "content")
    ]
    text = "".join(read_text(part.get("text")) for part in parts if part.get("type") == "output_text")
    refusal = "".join(read_text(part.get("refusal")) for part in parts if part.get("type") == "refusal")
    reasoning = SEPARATOR.join(filter(None, map(_read_thought, _iterate_reasoning(items))))
    calls = [item for item in items if is_call(item)]
    tool_calls = tuple(read_call(item, index) for index, item in enumerate(calls))
    logprobs = [each for part in parts for each in _read_list(part.get("logprobs"))]
    model = read_text(document.get("model"))
    return Reply(
        text=text,
        model=model or request.model,
        finish_reason=_read_finish_reason(document, has_calls=bool(tool_calls)),
        usage=make_usage(
            _rename_usage(document.get("usage")),
            request,
            model,
            lambda: [{"content": text + refusal, "tool_calls": _write_calls(tool_calls)}],
            has_content=bool(text or refusal or tool_calls),
            headers=headers,
        ),
        tool_calls=tool_calls,
        service_tier=read_text(document.get("service_tier")) or None,
        request_id=headers.get("x-request-id"),
        body=body,
        limits=read_rate_limits(headers),
        refusal=refusal or None,
        reasoning=reasoning,
        logprobs={"content": logprobs} if logprobs else None,
    )


def is_call(item: Mapping[str, Any]) -> bool:
    """Return whether an item of the output is a call that the application carries out."""
    return item.get("type") in _CALLS


def read_call(item: Mapping[str, Any], index: int) -> ToolCall:
    """Return the call in an item of the output."""
    kind = _CALLS.get(read_text(item.get("type")), "function")
    return ToolCall(
        name=read_text(item.get("name")),
        arguments=read_text(item.get("input" if kind == "custom" else "arguments")),
        id=read_text(item.get("call_id")) or read_text(item.get("id")),
        type=kind,
        index=index,
    )


def _read_finish_reason(document: Mapping[str, Any], *, has_calls: bool) -> str | None:
    status = document.get("status")
    if status == "incomplete":
        details = document.get("incomplete_details")
        reason = read_text(details.get("reason")) if isinstance(details, Mapping) else ""
        return _REASONS.get(reason, reason or "length")
    # The server carries out the request in the background. The document then has no usage.
    if status in {"queued", "in_progress", "cancelled"}:
        return read_text(status)
    return "tool_calls" if has_calls else "stop"


def _rename_usage(sent: Any) -> dict[str, Any]:
    """Return the usage with the names of Chat Completions."""
    usage = dict(sent) if isinstance(sent, Mapping) else {}
    for ours, theirs in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        usage[ours] = usage.pop(theirs, None)
        usage[f"{ours}_details"] = usage.pop(f"{theirs}_details", None)
    return usage


def _write_calls(calls: tuple[ToolCall, ...]) -> list[dict[str, Any]]:
    return [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]


def _iterate_parts(item: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    return (part for part in _read_list(item.get(name)) if isinstance(part, Mapping))


def _iterate_reasoning(items: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the reasoning of each item: the summaries if there are any, otherwise the text."""
    for item in items:
        if item.get("type") == "reasoning":
            summaries = list(_iterate_parts(item, "summary"))
            yield from summaries or _iterate_parts(item, "content")


def _read_thought(part: Mapping[str, Any]) -> str:
    return read_text(part.get("text"))


def _read_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
