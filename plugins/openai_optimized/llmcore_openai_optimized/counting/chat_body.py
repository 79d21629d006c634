"""Parse bodies of Chat Completions."""

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
_KEYS: Final = frozenset(
    {
        "role",
        "content",
        "name",
        "tool_calls",
        "function_call",
        "tool_call_id",
        "refusal",
        "annotations",
        "audio",
    }
)


def read(body: Mapping[str, Any], whole: ParsedRequest) -> None:
    """Parse *body* into *whole*."""
    names: dict[str, str] = {}
    for message in iterate_mappings(body.get("messages")):
        _read_message(message, whole, names)
    _read_functions(body, whole)
    _read_form(body.get("response_format"), whole)
    whole.choice = body.get("tool_choice", body.get("function_call"))
    for name in ("audio", "modalities", "prediction", "web_search_options"):
        if body.get(name):
            whole.doubts.add(name)
            whole.unparsed.append(encode_json(body[name]))
    if body.get("web_search_options") is not None:
        whole.boundless.add("web_search")


def _read_message(message: Mapping[str, Any], whole: ParsedRequest, names: dict[str, str]) -> None:
    role, content = get_text(message, "role"), message.get("content")
    text, pictures = read_content(content, whole)
    calls = list(iterate_mappings(message.get("tool_calls")))
    unknown = {key: message[key] for key in message.keys() - _KEYS if message[key] is not None}
    if unknown:
        whole.doubts.add("message")
        whole.unparsed.append(encode_json(unknown))
    if role in ("tool", "function"):
        whole.items.append(
            ResultItem(names.get(get_text(message, "tool_call_id"), "") or get_name(message), text, pictures)
        )
        return
    if calls or message.get("function_call"):
        if text or pictures:
            whole.items.append(MessageItem("assistant", text, pictures))
        _read_calls(message, calls, whole, names)
        return
    if role not in _ROLES:
        whole.doubts.add("role")
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        whole.doubts.add("refusal")
        whole.unparsed.append(refusal)
    whole.items.append(MessageItem(role, text, pictures, get_name(message)))


def _read_calls(
    message: Mapping[str, Any], calls: list[Mapping[str, Any]], whole: ParsedRequest, names: dict[str, str]
) -> None:
    made: list[Call] = []
    for call in calls:
        function = call.get("function")
        if not isinstance(function, Mapping):  # a custom tool, or an unknown kind
            whole.doubts.add("call")
            whole.unparsed.append(encode_json(call))
            continue
        names[get_text(call, "id")] = get_name(function)
        made.append(Call(get_name(function), get_arguments(function)))
    old = message.get("function_call")
    if not calls and isinstance(old, Mapping):
        made.append(Call(get_name(old), get_arguments(old)))
    if made:
        whole.items.append(CallsItem(made, get_name(message)))


def _read_functions(body: Mapping[str, Any], whole: ParsedRequest) -> None:
    for tool in iterate_mappings(body.get("tools")):
        function = tool.get("function")
        if tool.get("type", "function") == "function" and isinstance(function, Mapping):
            whole.functions.append(function)
        else:
            whole.doubts.add("tool")
            whole.unparsed.append(encode_json(tool))
    old = list(iterate_mappings(body.get("functions")))
    whole.functions += old
    # For the deprecated `functions`, the server omits the descriptions of list items (in 3 recorded requests).
    whole.item_comments = not old


def _read_form(wanted: Any, whole: ParsedRequest) -> None:
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        return
    form = wanted.get("json_schema")
    if isinstance(form, Mapping):
        whole.schema = form
    else:
        whole.doubts.add("response_format")
        whole.unparsed.append(encode_json(form))
