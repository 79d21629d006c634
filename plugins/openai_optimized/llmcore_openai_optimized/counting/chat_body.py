"""Takes bodies of Chat Completions apart."""

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


def read(body: Mapping[str, Any], whole: Asked) -> None:
    """Take *body* apart into *whole*."""
    names: dict[str, str] = {}
    for message in mappings(body.get("messages")):
        _message(message, whole, names)
    _functions(body, whole)
    _form(body.get("response_format"), whole)
    whole.choice = body.get("tool_choice", body.get("function_call"))
    for name in ("audio", "modalities", "prediction", "web_search_options"):
        if body.get(name):
            whole.doubts.add(name)
            whole.loose.append(json_text(body[name]))
    if body.get("web_search_options") is not None:
        whole.boundless.add("web_search")


def _message(message: Mapping[str, Any], whole: Asked, names: dict[str, str]) -> None:
    role, content = text_of(message, "role"), message.get("content")
    text, pictures = texts_and_pictures(content, whole)
    calls = list(mappings(message.get("tool_calls")))
    strange = {key: message[key] for key in message.keys() - _KEYS if message[key] is not None}
    if strange:
        whole.doubts.add("message")
        whole.loose.append(json_text(strange))
    if role in ("tool", "function"):
        whole.items.append(
            Result(names.get(text_of(message, "tool_call_id"), "") or named(message), text, pictures)
        )
        return
    if calls or message.get("function_call"):
        if text or pictures:
            whole.items.append(Said("assistant", text, pictures))
        _calls(message, calls, whole, names)
        return
    if role not in _ROLES:
        whole.doubts.add("role")
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        whole.doubts.add("refusal")
        whole.loose.append(refusal)
    whole.items.append(Said(role, text, pictures, named(message)))


def _calls(
    message: Mapping[str, Any], calls: list[Mapping[str, Any]], whole: Asked, names: dict[str, str]
) -> None:
    made: list[Call] = []
    for call in calls:
        function = call.get("function")
        if not isinstance(function, Mapping):  # a custom tool's, or a stranger's
            whole.doubts.add("call")
            whole.loose.append(json_text(call))
            continue
        names[text_of(call, "id")] = named(function)
        made.append(Call(named(function), arguments_of(function)))
    old = message.get("function_call")
    if not calls and isinstance(old, Mapping):
        made.append(Call(named(old), arguments_of(old)))
    if made:
        whole.items.append(Called(made, named(message)))


def _functions(body: Mapping[str, Any], whole: Asked) -> None:
    for tool in mappings(body.get("tools")):
        function = tool.get("function")
        if tool.get("type", "function") == "function" and isinstance(function, Mapping):
            whole.functions.append(function)
        else:
            whole.doubts.add("tool")
            whole.loose.append(json_text(tool))
    old = list(mappings(body.get("functions")))
    whole.functions += old
    whole.item_comments = not old  # nor of the models of that time: 3 rows


def _form(wanted: Any, whole: Asked) -> None:
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        return
    form = wanted.get("json_schema")
    if isinstance(form, Mapping):
        whole.schema = form
    else:
        whole.doubts.add("response_format")
        whole.loose.append(json_text(form))
