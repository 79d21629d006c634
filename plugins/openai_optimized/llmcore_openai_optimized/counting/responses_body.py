"""Parse bodies of Responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_openai_optimized.counting.content import read_content
from llmcore_openai_optimized.counting.parsed_request import (
    Call,
    CallsItem,
    MessageItem,
    ParsedRequest,
    ResultItem,
    encode_json,
    get_arguments,
    get_name,
    get_text,
    iterate_mappings,
)

__all__ = ["read"]

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_SERVER_STATE: Final = ("previous_response_id", "conversation", "prompt")


def read(body: Mapping[str, Any], whole: ParsedRequest) -> None:
    """Parse *body* into *whole*."""
    names: dict[str, str] = {}
    instructions, given = body.get("instructions"), body.get("input")
    if instructions:
        whole.items.append(MessageItem("system", *read_content(instructions, whole)))
    if isinstance(given, str):
        whole.items.append(MessageItem("user", given))
    for item in iterate_mappings(given):
        _read_item(item, whole, names)
    for tool in iterate_mappings(body.get("tools")):
        _read_tool(tool, whole)
    whole.choice = body.get("tool_choice")
    _read_text(body.get("text"), whole)
    _read_state(body, whole)


def _read_text(text: Any, whole: ParsedRequest) -> None:
    if not isinstance(text, Mapping):
        return
    form = text.get("format")
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        whole.schema = form
    if get_text(text, "verbosity") not in ("", "medium"):
        # With "low", the server counted three tokens less (in 1 recorded request).
        whole.doubts.add("verbosity")


def _read_state(body: Mapping[str, Any], whole: ParsedRequest) -> None:
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and get_text(reasoning, "mode") not in ("", "standard"):
        # With mode "pro", the server counted 1,522 tokens for a prompt of 20, because it asks the model several times.
        whole.doubts.add("mode")
        whole.boundless.add("mode")
    if body.get("context_management") or body.get("truncation") == "auto":
        whole.doubts.add("context_management")
    for name in _SERVER_STATE:
        if body.get(name):
            whole.doubts.add(name)
            whole.boundless.add(name)


def _read_item(item: Mapping[str, Any], whole: ParsedRequest, names: dict[str, str]) -> None:
    kind = get_text(item, "type") or "message"
    if kind == "message":
        role = get_text(item, "role")
        if role not in _ROLES:
            whole.doubts.add("role")
        whole.items.append(MessageItem(role, *read_content(item.get("content"), whole)))
        if role == "user":
            whole.hidden = 0  # the server drops earlier reasoning (in 2 recorded requests)
    elif kind == "function_call":
        names[get_text(item, "call_id")] = get_name(item)
        call = Call(get_name(item), get_arguments(item), returned=bool(item.get("id")))
        if whole.items and isinstance(whole.items[-1], CallsItem):
            whole.items[-1].calls.append(call)
        else:
            whole.items.append(CallsItem([call]))
    elif kind == "function_call_output":
        output = item.get("output")
        output = encode_json(output) if isinstance(output, Mapping) else output
        whole.items.append(ResultItem(names.get(get_text(item, "call_id"), ""), *read_content(output, whole)))
    else:
        _record_unknown(kind, item, whole)


def _record_unknown(kind: Any, item: Mapping[str, Any], whole: ParsedRequest) -> None:
    whole.doubts.add(str(kind))
    if kind == "reasoning":
        content = item.get("encrypted_content")
        if isinstance(content, str):  # reasoning is not longer than its encrypted form
            whole.hidden += len(content)
        elif item.get("id"):
            whole.boundless.add("reasoning")
        return
    whole.unparsed.append(encode_json(item))
    whole.boundless.add(str(kind))


def _read_tool(tool: Mapping[str, Any], whole: ParsedRequest) -> None:
    kind = get_text(tool, "type") or "function"
    if kind == "function":
        whole.functions.append(tool)
        return
    whole.doubts.add("tool")
    whole.unparsed.append(encode_json(tool))
    if kind not in ("custom", "namespace"):  # the server runs the other tools and counts their results
        whole.boundless.add(str(kind))
