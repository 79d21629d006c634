"""Takes bodies of Responses apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.asked import (
    Asked,
    Call,
    Called,
    Result,
    Said,
    arguments_of,
    json_text,
    mappings,
    named,
    text_of,
)
from llmcore_openai_optimized.counting.content import texts_and_pictures

__all__ = ["read"]

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_SERVER_STATE: Final = ("previous_response_id", "conversation", "prompt")


def read(body: Mapping[str, Any], whole: Asked) -> None:
    """Take *body* apart into *whole*."""
    names: dict[str, str] = {}
    instructions, given = body.get("instructions"), body.get("input")
    if instructions:
        whole.items.append(Said("system", *texts_and_pictures(instructions, whole)))
    if isinstance(given, str):
        whole.items.append(Said("user", given))
    for item in mappings(given):
        _item(item, whole, names)
    for tool in mappings(body.get("tools")):
        _tool(tool, whole)
    whole.choice = body.get("tool_choice")
    _text(body.get("text"), whole)
    _state(body, whole)


def _text(text: Any, whole: Asked) -> None:
    if not isinstance(text, Mapping):
        return
    form = text.get("format")
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        whole.schema = form
    if text_of(text, "verbosity") not in ("", "medium"):
        whole.doubts.add("verbosity")  # "low" came to three tokens less, 1 row


def _state(body: Mapping[str, Any], whole: Asked) -> None:
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and text_of(reasoning, "mode") not in ("", "standard"):
        # Of mode "pro" 1,522 tokens were counted where the request has 20: it asks more than once.
        whole.doubts.add("mode")
        whole.boundless.add("mode")
    if body.get("context_management") or body.get("truncation") == "auto":
        whole.doubts.add("context_management")
    for name in _SERVER_STATE:
        if body.get(name):
            whole.doubts.add(name)
            whole.boundless.add(name)


def _item(item: Mapping[str, Any], whole: Asked, names: dict[str, str]) -> None:
    kind = text_of(item, "type") or "message"
    if kind == "message":
        role = text_of(item, "role")
        if role not in _ROLES:
            whole.doubts.add("role")
        whole.items.append(Said(role, *texts_and_pictures(item.get("content"), whole)))
        if role == "user":
            whole.hidden = 0  # what was thought before is left out: 2 rows
    elif kind == "function_call":
        names[text_of(item, "call_id")] = named(item)
        call = Call(named(item), arguments_of(item), returned=bool(item.get("id")))
        if whole.items and isinstance(whole.items[-1], Called):
            whole.items[-1].calls.append(call)
        else:
            whole.items.append(Called([call]))
    elif kind == "function_call_output":
        output = item.get("output")
        output = json_text(output) if isinstance(output, Mapping) else output
        whole.items.append(
            Result(names.get(text_of(item, "call_id"), ""), *texts_and_pictures(output, whole))
        )
    else:
        _unknown(kind, item, whole)


def _unknown(kind: Any, item: Mapping[str, Any], whole: Asked) -> None:
    whole.doubts.add(str(kind))
    if kind == "reasoning":
        content = item.get("encrypted_content")
        if isinstance(content, str):  # what was thought is no longer than what was encrypted of it
            whole.hidden += len(content)
        elif item.get("id"):
            whole.boundless.add("reasoning")
        return
    whole.loose.append(json_text(item))
    whole.boundless.add(str(kind))


def _tool(tool: Mapping[str, Any], whole: Asked) -> None:
    kind = text_of(tool, "type") or "function"
    if kind == "function":
        whole.functions.append(tool)
        return
    whole.doubts.add("tool")
    whole.loose.append(json_text(tool))
    if kind not in ("custom", "namespace"):  # what a server's tool finds is counted too
        whole.boundless.add(str(kind))
