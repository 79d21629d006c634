"""Make the chat completion for a request: the scripted answer, or a text that quotes the question."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmcore_testing.simulator import tokens
from llmcore_testing.simulator.chat_validation import find_forced_tool
from llmcore_testing.simulator.openai_common import FINGERPRINT, make_id
from llmcore_testing.simulator.openai_errors import make_invalid
from llmcore_testing.simulator.schema_samples import sample
from llmcore_testing.simulator.script import Scripted
from llmcore_testing.simulator.wire import encode

__all__ = ["complete"]

_LONG: Final = 300


def complete(body: Mapping[str, Any], model: str, scripted: Scripted | None) -> dict[str, Any]:
    """Return a complete `chat.completion`. *scripted* replaces the generated answer or parts of it."""
    if callable(scripted):
        scripted = scripted(body)
    if isinstance(scripted, Mapping) and "choices" in scripted:
        return {**_make_frame(body, model), "usage": _count_usage(body, scripted["choices"]), **scripted}
    choices = [_make_choice(body, index, scripted) for index in range(body.get("n") or 1)]
    return {**_make_frame(body, model), "choices": choices, "usage": _count_usage(body, choices)}


def _make_frame(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    tier = body.get("service_tier")
    return {
        "id": make_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "service_tier": "default" if tier in (None, "auto") else tier,
        "system_fingerprint": FINGERPRINT,
    }


def _count_usage(body: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    said = sum(tokens.count_message(choice.get("message") or {}) for choice in choices)
    return tokens.make_usage(tokens.count_prompt(body), said)


def _make_choice(
    body: Mapping[str, Any], index: int, scripted: str | Mapping[str, Any] | None
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    reason = "stop"
    if isinstance(scripted, Mapping):
        message |= scripted
    elif scripted is not None:
        message["content"] = scripted
    elif call := _make_required_call(body):
        message["tool_calls"] = [call]
        # If the caller named the function, OpenAI's finish_reason is "stop".
        reason = "tool_calls" if body["tool_choice"] == "required" else "stop"
    else:
        message["content"] = _make_text(body, index)
    if isinstance(scripted, Mapping) and message.get("tool_calls"):
        message["tool_calls"] = [_complete_call(call) for call in message["tool_calls"]]
        reason = "tool_calls"
    if isinstance(message["content"], str):
        message["content"], reason = _shorten(message["content"], body, reason)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}


def _shorten(text: str, body: Mapping[str, Any], reason: str) -> tuple[str, str]:
    stops = body.get("stop") or ()
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0] if stop else text
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    if most is None or tokens.count(text) <= most:
        return text, reason
    return tokens.cut(text, most), "length"


def _make_text(body: Mapping[str, Any], index: int) -> str:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return encode(_make_sample(wanted["json_schema"]["schema"], "response_format")).decode()
    said = _find_last_text(body["messages"])
    if wanted.get("type") == "json_object":
        return encode({"answer": said}).decode()
    text = f"This is a simulated answer to: {said}"
    return f"{text} (choice {index + 1})" if index else text


def _find_last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    last = messages[-1]
    if last["role"] != "tool":
        last = next((message for message in reversed(messages) if message["role"] == "user"), last)
    text = tokens.get_text(last.get("content")) or "a message without text"
    if len(text) <= _LONG:
        return text
    digest = hashlib.blake2b(encode(text), digest_size=4).hexdigest()
    return f"{text[:_LONG]}... ({len(text)} characters, digest {digest})"


def _make_required_call(body: Mapping[str, Any]) -> dict[str, Any] | None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not tools or choice in (None, "none", "auto"):
        return None
    named = find_forced_tool(choice) if isinstance(choice, Mapping) else None
    tool = next(tool for tool in tools if named is None or tool[tool["type"]]["name"] == named)
    if tool["type"] == "custom":
        return _complete_call({"type": "custom", "custom": {"name": tool["custom"]["name"], "input": "text"}})
    arguments = _make_sample(tool["function"].get("parameters") or {"type": "object"}, "tools")
    return _complete_call({"function": {"name": tool["function"]["name"], "arguments": arguments}})


def _make_sample(schema: Any, param: str) -> Any:
    try:
        return sample(schema)
    except (ArithmeticError, AttributeError, IndexError, LookupError, TypeError, ValueError) as exc:
        raise make_invalid(
            f"Invalid schema for '{param}': {exc!r}.", param=param, code="invalid_schema"
        ) from None


def _complete_call(call: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"id": make_id("call_"), "type": "function", **call}
    function = whole.get("function")
    if isinstance(function, Mapping) and not isinstance(function.get("arguments", ""), str):
        whole["function"] = {**function, "arguments": encode(function["arguments"]).decode()}
    return whole
