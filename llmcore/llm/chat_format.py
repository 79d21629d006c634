"""Write replies and deltas in the format of Chat Completions, for providers that return no document in this format."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmcore.types import Choice, Delta, Reply, ToolCall, Usage

__all__ = ["find_document", "make_document", "write_delta", "write_tier", "write_usage"]

_TIERS: Final = {"standard": "default"}
"""Anthropic's service tiers -> OpenAI's service tiers."""


def find_document(reply: Reply) -> dict[str, Any]:
    """Return the provider's document in the format of Chat Completions, or make one from *reply*."""
    try:
        document = reply.raw
    except ValueError:  # msgspec's errors are ValueErrors
        document = None
    choices = document.get("choices") if isinstance(document, dict) else None
    if isinstance(choices, list) and choices and all(isinstance(each, dict) for each in choices):
        return dict(document)
    return make_document(reply)


def make_document(reply: Reply) -> dict[str, Any]:
    """Return *reply* as a `chat.completion`."""
    return {
        "id": reply.request_id or "",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [_write_choice(index, choice) for index, choice in enumerate(reply.choices)],
        "usage": write_usage(reply.usage),
        **write_tier(reply.service_tier),
    }


def write_tier(tier: str | None) -> dict[str, str]:
    """Return the field `service_tier` with OpenAI's name for *tier*; {} if *tier* is None or empty."""
    return {} if not tier else {"service_tier": _TIERS.get(tier, tier)}


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return *usage* as the `usage` of a completion."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }


def write_delta(delta: Delta) -> dict[str, Any]:
    """Return the content of *delta* as the `delta` of a chunk."""
    fields: dict[str, Any] = {}
    if delta.text:
        fields["content"] = delta.text
    if delta.reasoning:
        fields["reasoning_content"] = delta.reasoning
    if delta.refusal:
        fields["refusal"] = delta.refusal
    if delta.tool_calls:
        fields["tool_calls"] = [
            {"index": call.index, **_write_call(call, partial=True)} for call in delta.tool_calls
        ]
    return fields


def _write_choice(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or None, "refusal": choice.refusal}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = _write_calls(choice.tool_calls)
    elif choice.text == "" and choice.refusal is None:
        message["content"] = ""
    logprobs: Mapping[str, Any] | None = choice.logprobs
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": choice.finish_reason,
    }


def _write_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [_write_call(call) for call in calls]


def _write_call(call: ToolCall, *, partial: bool = False) -> dict[str, Any]:
    """Return a tool call, or a piece of a tool call. Only the first piece names the call."""
    custom = call.type == "custom"
    inner = {"name": call.name, "input" if custom else "arguments": call.arguments}
    if partial and not call.name:
        del inner["name"]
    written = {"id": call.id, "type": call.type, "custom" if custom else "function": inner}
    if partial and not call.id:
        del written["id"]
    return written
