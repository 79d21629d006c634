"""Chat Completions: read a request into the neutral form, and write a request from the neutral form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmcore.support.translation.neutral import (
    DocumentPart,
    Format,
    Image,
    NeutralParameter,
    NeutralRequest,
    Part,
    RefusalPart,
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
from llmcore.support.translation.settings import read_settings, write_settings

__all__ = ["read_chat", "write_chat"]

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"role", "content"}),
    "developer": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "refusal", "reasoning_content"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
}
_READ: Final = frozenset(
    {"messages", "tools", "tool_choice", "max_tokens", "max_completion_tokens", "stop", "response_format", "reasoning_effort",
     "n", "stream_options"}
)  # fmt: skip
_SCHEMA: Final = frozenset({"name", "schema", "description", "strict"})
_DEFAULT_NAME: Final = "answer"


def read_chat(body: Mapping[str, Any], target: str) -> NeutralRequest:
    """Return the request in *body*. Errors name *target*, the API that cannot express a field."""
    messages = as_list(body.get("messages"), "messages", target)
    settings = read_settings(body, "chat", _READ)
    for name in ("max_tokens", "max_completion_tokens"):  # the second, newer name takes precedence
        if name in body:
            settings["max_tokens"] = NeutralParameter(body[name], name)
    if body.get("n", 1) != 1:
        refuse("n", target)
    if "stop" in body:
        stop = body["stop"]
        settings["stop"] = NeutralParameter([stop] if isinstance(stop, str) else stop, "stop")
    if "reasoning_effort" in body:
        settings["effort"] = NeutralParameter(body["reasoning_effort"], "reasoning_effort")
    if "response_format" in body:
        settings["format"] = NeutralParameter(
            _read_format(body["response_format"], target), "response_format"
        )
    if "tool_choice" in body:
        settings["tool_choice"] = NeutralParameter(_read_choice(body["tool_choice"], target), "tool_choice")
    tools = body.get("tools")
    return NeutralRequest(
        source="chat",
        turns=tuple(_read_message(message, f"messages[{i}]", target) for i, message in enumerate(messages)),
        tools=None
        if tools is None
        else tuple(
            _read_tool(tool, f"tools[{i}]", target) for i, tool in enumerate(as_list(tools, "tools", target))
        ),
        settings=settings,
    )


def _read_message(message: Any, where: str, target: str) -> Turn:
    message = as_mapping(message, where, target)
    role = str(message.get("role"))
    if role not in _FIELDS:
        refuse(f"{where}.role", target)
    check_fields(message, _FIELDS[role], where, target)
    content = message.get("content")
    if role == "tool":
        call_id = as_text(message.get("tool_call_id"), f"{where}.tool_call_id", target)
        return Turn("user", (ToolResult(call_id, _read_content(content, where, target)),), where)
    if role != "assistant":
        return Turn(role, _read_content(content, where, target), where)
    parts: list[Part] = []
    if message.get("reasoning_content"):
        parts.append(Thinking(as_text(message["reasoning_content"], f"{where}.reasoning_content", target)))
    if isinstance(content, str) and content:
        parts.append(Text(content))
    elif content:
        parts += _read_parts(content, where, target)
    if message.get("refusal"):
        parts.append(RefusalPart(as_text(message["refusal"], f"{where}.refusal", target)))
    for index, call in enumerate(as_list(message.get("tool_calls") or (), f"{where}.tool_calls", target)):
        parts.append(_read_call(call, f"{where}.tool_calls[{index}]", target))
    only_text = isinstance(content, str) and len(parts) == 1
    return Turn(role, content if only_text else tuple(parts), where)


def _read_content(content: Any, where: str, target: str) -> str | tuple[Part, ...]:
    return content if isinstance(content, str) else tuple(_read_parts(content, where, target))


def _read_parts(content: Any, where: str, target: str) -> Iterator[Part]:
    for index, part in enumerate(as_list(content, f"{where}.content", target)):
        yield _read_part(
            as_mapping(part, f"{where}.content[{index}]", target), f"{where}.content[{index}]", target
        )


def _read_part(part: Mapping[str, Any], where: str, target: str) -> Part:
    kind = str(part.get("type"))
    if kind in {"text", "refusal"}:
        check_fields(part, {"type", kind}, where, target)
        text = as_text(part.get(kind), f"{where}.{kind}", target)
        return Text(text) if kind == "text" else RefusalPart(text)
    if kind == "image_url":
        check_fields(part, {"type", "image_url"}, where, target)
        image = part.get("image_url")
        inner = {"url": image} if isinstance(image, str) else as_mapping(image, f"{where}.image_url", target)
        check_fields(inner, {"url", "detail"}, f"{where}.image_url", target)
        return Image(as_text(inner.get("url"), f"{where}.image_url.url", target), inner.get("detail"))
    if kind == "file":
        check_fields(part, {"type", "file"}, where, target)
        inner = as_mapping(part.get("file"), f"{where}.file", target)
        check_fields(inner, {"file_data", "file_id", "filename"}, f"{where}.file", target)
        return DocumentPart(
            url=inner.get("file_data"), file_id=inner.get("file_id"), name=inner.get("filename")
        )
    return refuse(f"{where}.type", target, f"a part of type `{kind}` cannot be translated")


def _read_call(call: Any, where: str, target: str) -> ToolUse:
    call = as_mapping(call, where, target)
    if call.get("type", "function") != "function":
        refuse(f"{where}.type", target)
    # `index` is allowed but not read: it only repeats the position in the list.
    check_fields(call, {"id", "type", "function", "index"}, where, target)
    function = as_mapping(call.get("function"), f"{where}.function", target)
    check_fields(function, {"name", "arguments"}, f"{where}.function", target)
    return ToolUse(
        id=as_text(call.get("id"), f"{where}.id", target),
        name=as_text(function.get("name"), f"{where}.function.name", target),
        arguments=as_text(function.get("arguments"), f"{where}.function.arguments", target),
    )


def _read_tool(tool: Any, where: str, target: str) -> Tool:
    tool = as_mapping(tool, where, target)
    if tool.get("type") != "function":
        refuse(f"{where}.type", target, f"a tool of type `{tool.get('type')}` cannot be translated")
    check_fields(tool, {"type", "function"}, where, target)
    function = as_mapping(tool.get("function"), f"{where}.function", target)
    check_fields(function, {"name", "description", "parameters", "strict"}, f"{where}.function", target)
    return Tool(
        name=as_text(function.get("name"), f"{where}.function.name", target),
        description=function.get("description"),
        schema=function.get("parameters"),
        strict=function.get("strict") or None,
        where=where,
    )


def _read_choice(choice: Any, target: str) -> ToolChoice:
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    choice = as_mapping(choice, "tool_choice", target)
    if choice.get("type") != "function":
        refuse("tool_choice.type", target)
    function = as_mapping(choice.get("function"), "tool_choice.function", target)
    return ToolChoice("function", as_text(function.get("name"), "tool_choice.function.name", target))


def _read_format(value: Any, target: str) -> Format:
    value = as_mapping(value, "response_format", target)
    kind = str(value.get("type"))
    if kind in {"text", "json_object"}:
        check_fields(value, {"type"}, "response_format", target)
        return Format(kind)
    if kind != "json_schema":
        refuse("response_format.type", target)
    check_fields(value, {"type", "json_schema"}, "response_format", target)
    inner = as_mapping(value.get("json_schema"), "response_format.json_schema", target)
    check_fields(inner, _SCHEMA, "response_format.json_schema", target)
    return Format(
        "json_schema", inner.get("schema"), inner.get("name"), inner.get("description"), inner.get("strict")
    )


# -- writing


def write_chat(request: NeutralRequest) -> dict[str, Any]:
    """Return *request* as a body of Chat Completions.

    Raises:
        BadRequest: Chat Completions cannot express a part of *request*.
    """
    body: dict[str, Any] = {"messages": [message for turn in request.turns for message in _write_turn(turn)]}
    settings = dict(request.settings)
    for name, ours in (
        ("max_tokens", "max_completion_tokens"),
        ("stop", "stop"),
        ("effort", "reasoning_effort"),
    ):
        if name in settings:
            body[ours] = settings.pop(name).value
    if "format" in settings:
        body["response_format"] = _write_format(settings.pop("format").value)
    if request.tools is not None:
        body["tools"] = [_write_tool(tool) for tool in request.tools]
    if "tool_choice" in settings:
        choice = settings.pop("tool_choice").value
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.kind == "function" else choice.kind
    write_settings(settings, "chat", body)
    for setting in settings.values():
        refuse(setting.where, "chat")
    return body


def _write_turn(turn: Turn) -> Iterator[dict[str, Any]]:
    """Yield the messages of *turn*: one for an assistant; else one for each tool result, then one with the other parts."""
    if isinstance(turn.content, str):
        yield {"role": turn.role, "content": turn.content}
    elif turn.role == "assistant":
        yield _write_assistant(turn)
    else:
        results = [part for part in turn.content if isinstance(part, ToolResult)]
        others = [part for part in turn.content if not isinstance(part, ToolResult)]
        if results and others and not isinstance(turn.content[len(results) - 1], ToolResult):
            refuse(
                turn.where,
                "chat",
                f"`{turn.where}` has a result of a tool after other content, which cannot be translated",
            )
        for result in results:
            content = result.content
            written = (
                content if isinstance(content, str) else [_write_text(part, turn.where) for part in content]
            )
            yield {"role": "tool", "tool_call_id": result.id, "content": written}
        if others or not results:
            yield {"role": turn.role, "content": [_write_part(part, turn.where) for part in others]}


def _write_assistant(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    texts = [part.text for part in turn.content if isinstance(part, Text)]
    refusals = [part.text for part in turn.content if isinstance(part, RefusalPart)]
    thoughts = [part.text for part in turn.content if isinstance(part, Thinking)]
    calls = [part for part in turn.content if isinstance(part, ToolUse)]
    if len(texts) + len(refusals) + len(thoughts) + len(calls) != len(turn.content) or len(refusals) > 1:
        refuse(
            turn.where,
            "chat",
            f"`{turn.where}` has a part that an assistant's message of Chat Completions cannot have",
        )
    if len(texts) > 1 or len(turn.content) == len(texts) == 1:
        message["content"] = [{"type": "text", "text": text} for text in texts]
    else:
        message["content"] = texts[0] if texts else None
    if refusals:
        message["refusal"] = refusals[0]
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
    return message


def _write_text(part: Part, where: str) -> dict[str, Any]:
    if not isinstance(part, Text):
        refuse(
            where,
            "chat",
            f"the result of a tool in `{where}` has a part other than text, which cannot be translated",
        )
    return {"type": "text", "text": part.text}


def _write_part(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "image_url", "image_url": {"url": part.url, **detail}}
    if isinstance(part, DocumentPart):
        if part.url is not None and not part.url.startswith("data:"):
            refuse(
                where,
                "chat",
                f"`{where}` has a document given by a URL; Chat Completions accepts only its content or a file id",
            )
        fields = {"file_data": part.url, "file_id": part.file_id, "filename": part.name}
        return {"type": "file", "file": {name: value for name, value in fields.items() if value is not None}}
    return refuse(where, "chat")


def _write_tool(tool: Tool) -> dict[str, Any]:
    fields = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.schema,
        "strict": tool.strict,
    }
    return {
        "type": "function",
        "function": {name: value for name, value in fields.items() if value is not None},
    }


def _write_format(wanted: Format) -> dict[str, Any]:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    fields = {
        "name": wanted.name or _DEFAULT_NAME,
        "description": wanted.description,
        "schema": wanted.schema,
        "strict": wanted.strict,
    }
    return {
        "type": "json_schema",
        "json_schema": {name: value for name, value in fields.items() if value is not None},
    }
