"""The Messages API: read a request into the neutral form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.support.translation.messages_writer import write_messages
from llmcore.support.translation.neutral import (
    DocumentPart,
    Format,
    Image,
    NeutralParameter,
    NeutralRequest,
    Part,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
    as_list,
    as_mapping,
    as_text,
    check_fields,
    refuse,
)
from llmcore.support.translation.settings import read_settings

__all__ = ["read_messages", "write_messages"]

_READ: Final = frozenset(
    {"messages", "system", "tools", "tool_choice", "max_tokens", "stop_sequences", "metadata", "output_config", "thinking",
     "service_tier", "cache_control", "context_management"}
)  # fmt: skip
_KEEPS_THINKING: Final = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
"""The value of `context_management` that changes nothing. Claude Code sends this value."""
_CACHE_CONTROL: Final = "cache_control"
"""This parameter changes the price but not the answer, so it is omitted.

`_check` accepts it in each object in which the API has it.
"""
_LEVELS: Final = ((5_000, "low"), (10_000, "medium"))
"""Pairs of a number of thinking tokens and an effort.

A budget of tokens becomes the effort of the first pair whose number is larger. Without such a pair, the effort is
"high".
"""
_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "none": "none", "any": "required", "tool": "function"}
_TIERS: Final[Mapping[str, str]] = {"auto": "auto", "standard_only": "default"}
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def read_messages(body: Mapping[str, Any], target: str) -> NeutralRequest:
    """Return the request in *body*. Errors name *target*, the API that cannot express a field."""
    settings = read_settings(body, "messages", _READ)
    if "max_tokens" in body:
        settings["max_tokens"] = NeutralParameter(body["max_tokens"], "max_tokens")
    if "stop_sequences" in body:
        settings["stop"] = NeutralParameter(body["stop_sequences"], "stop_sequences")
    if "metadata" in body:
        metadata = as_mapping(body["metadata"], "metadata", target)
        check_fields(metadata, {"user_id"}, "metadata", target)
        if metadata.get("user_id") is not None:
            settings["user"] = NeutralParameter(metadata["user_id"], "metadata.user_id")
    if "service_tier" in body:
        tier = _TIERS.get(str(body["service_tier"])) or refuse("service_tier", target)
        settings["service_tier"] = NeutralParameter(tier, "service_tier")
    if body.get("context_management") not in (None, _KEEPS_THINKING):
        refuse("context_management", target)
    _read_output(body, settings, target)
    _read_choice(body, settings, target)
    turns: list[Turn] = []
    if "system" in body:
        system = body["system"]
        content = system if isinstance(system, str) else tuple(_read_blocks(system, "system", target))
        turns.append(Turn("system", content, "system"))
    messages = as_list(body.get("messages"), "messages", target)
    turns += [_read_message(message, f"messages[{i}]", target) for i, message in enumerate(messages)]
    tools = body.get("tools")
    return NeutralRequest(
        source="messages",
        turns=tuple(turns),
        tools=None
        if tools is None
        else tuple(
            _read_tool(tool, f"tools[{i}]", target) for i, tool in enumerate(as_list(tools, "tools", target))
        ),
        settings=settings,
    )


def _read_output(body: Mapping[str, Any], settings: dict[str, NeutralParameter], target: str) -> None:
    """Read the format of the answer, the effort and whether to think."""
    config = as_mapping(body.get("output_config") or {}, "output_config", target)
    check_fields(config, {"effort", "format"}, "output_config", target)
    if config.get("effort") is not None:
        settings["effort"] = NeutralParameter(config["effort"], "output_config.effort")
    if "thinking" in body:
        _read_thinking(as_mapping(body["thinking"], "thinking", target), settings, target)
    if config.get("format") is not None:
        wanted = as_mapping(config["format"], "output_config.format", target)
        check_fields(wanted, {"type", "schema"}, "output_config.format", target)
        if wanted.get("type") != "json_schema":
            refuse("output_config.format.type", target)
        schema = as_mapping(wanted.get("schema"), "output_config.format.schema", target)
        title = schema.get("title")
        name = title if isinstance(title, str) and _NAME.fullmatch(title) else None
        if name is not None:
            schema = {key: value for key, value in schema.items() if key != "title"}
        settings["format"] = NeutralParameter(
            Format("json_schema", schema, name, strict=True), "output_config.format"
        )


def _read_thinking(thinking: Mapping[str, Any], settings: dict[str, NeutralParameter], target: str) -> None:
    """Set the effort that corresponds to *thinking*.

    `_LEVELS` converts a budget of tokens. Adaptive thinking uses the effort in `output_config.effort`.
    """
    kind, given = thinking.get("type"), settings.get("effort")
    budget = thinking.get("budget_tokens")
    if kind == "enabled" and type(budget) is int:
        level = next((level for below, level in _LEVELS if budget < below), "high")
    elif kind == "disabled":
        level = "none"
    elif kind == "adaptive" and given is not None:
        level = given.value
    else:
        refuse("thinking", target)
    check_fields(thinking, {"type", "budget_tokens"} if kind == "enabled" else {"type"}, "thinking", target)
    if given is not None and given.value != level:
        refuse("output_config.effort", target)
    settings["effort"] = NeutralParameter(level, "thinking")


def _read_choice(body: Mapping[str, Any], settings: dict[str, NeutralParameter], target: str) -> None:
    if "tool_choice" not in body:
        return
    choice = as_mapping(body["tool_choice"], "tool_choice", target)
    check_fields(choice, {"type", "name", "disable_parallel_tool_use"}, "tool_choice", target)
    kind = _CHOICES.get(str(choice.get("type"))) or refuse("tool_choice.type", target)
    name = as_text(choice.get("name"), "tool_choice.name", target) if kind == "function" else None
    settings["tool_choice"] = NeutralParameter(ToolChoice(kind, name), "tool_choice")
    if choice.get("disable_parallel_tool_use"):
        settings["parallel_tool_calls"] = NeutralParameter(
            value=False, where="tool_choice.disable_parallel_tool_use"
        )


def _read_message(message: Any, where: str, target: str) -> Turn:
    message = as_mapping(message, where, target)
    check_fields(message, {"role", "content"}, where, target)
    role = str(message.get("role"))
    if role not in {"user", "assistant", "system"}:
        refuse(f"{where}.role", target)
    content = message.get("content")
    if isinstance(content, str):
        return Turn(role, content, where)
    parts = tuple(_read_blocks(content, f"{where}.content", target))
    return Turn(role, parts, where)


def _read_blocks(content: Any, where: str, target: str) -> Iterator[Part]:
    for index, block in enumerate(as_list(content, where, target)):
        yield _read_block(as_mapping(block, f"{where}[{index}]", target), f"{where}[{index}]", target)


def _read_block(block: Mapping[str, Any], where: str, target: str) -> Part:
    kind = str(block.get("type"))
    if kind == "text":
        empty = set() if block.get("citations") else {"citations"}
        _check(block, {"type", "text"} | empty, where, target)
        return Text(as_text(block.get("text"), f"{where}.text", target))
    if kind == "thinking":
        unsigned = set() if block.get("signature") else {"signature"}
        check_fields(block, {"type", "thinking"} | unsigned, where, target)
        return Thinking(as_text(block.get("thinking"), f"{where}.thinking", target))
    if kind == "tool_use":
        direct = (
            {"caller"} if block.get("caller") == {"type": "direct"} else set()
        )  # `direct`: the model made the call, not a tool of the server
        _check(block, {"type", "id", "name", "input"} | direct, where, target)
        return ToolUse(
            id=as_text(block.get("id"), f"{where}.id", target),
            name=as_text(block.get("name"), f"{where}.name", target),
            arguments=_encode(block.get("input")).decode(),
        )
    if kind == "tool_result":
        return _read_result(block, where, target)
    if kind in {"image", "document"}:
        return _read_file(block, where, target)
    return refuse(f"{where}.type", target, f"a block of type `{kind}` cannot be translated")


def _read_result(block: Mapping[str, Any], where: str, target: str) -> ToolResult:
    """Read the result of a tool.

    The other APIs have no field for a failed tool, so the text begins with `Error: `.
    """
    _check(block, {"type", "tool_use_id", "content", "is_error"}, where, target)
    content = block.get("content")
    if content is None:
        content = ""
    read = content if isinstance(content, str) else tuple(_read_blocks(content, f"{where}.content", target))
    if block.get("is_error"):
        read = f"Error: {read}" if isinstance(read, str) else (Text("Error: "), *read)
    return ToolResult(as_text(block.get("tool_use_id"), f"{where}.tool_use_id", target), read)


def _read_file(block: Mapping[str, Any], where: str, target: str) -> Image | DocumentPart:
    source = as_mapping(block.get("source"), f"{where}.source", target)
    kind = str(source.get("type"))
    url = file_id = None
    if kind == "base64":
        check_fields(source, {"type", "media_type", "data"}, f"{where}.source", target)
        data = as_text(source.get("data"), f"{where}.source.data", target)
        url = f"data:{as_text(source.get('media_type'), f'{where}.source.media_type', target)};base64,{data}"
    elif kind == "url":
        check_fields(source, {"type", "url"}, f"{where}.source", target)
        url = as_text(source.get("url"), f"{where}.source.url", target)
    elif kind == "file" and block.get("type") == "document":
        check_fields(source, {"type", "file_id"}, f"{where}.source", target)
        file_id = as_text(source.get("file_id"), f"{where}.source.file_id", target)
    else:
        refuse(f"{where}.source.type", target)
    if block.get("type") == "image":
        _check(block, {"type", "source"}, where, target)
        return Image(url or "")
    _check(block, {"type", "source", "title"}, where, target)
    return DocumentPart(url=url, file_id=file_id, name=block.get("title"))


def _read_tool(tool: Any, where: str, target: str) -> Tool:
    tool = as_mapping(tool, where, target)
    if tool.get("type", "custom") != "custom":
        refuse(f"{where}.type", target, f"a tool of type `{tool.get('type')}` cannot be translated")
    _check(tool, {"type", "name", "description", "input_schema", "strict"}, where, target)
    return Tool(
        name=as_text(tool.get("name"), f"{where}.name", target),
        description=tool.get("description"),
        schema=tool.get("input_schema"),
        strict=tool.get("strict") or None,
        where=where,
    )


def _check(block: Mapping[str, Any], known: set[str], where: str, target: str) -> None:
    check_fields(block, known | {_CACHE_CONTROL}, where, target)
