"""The Responses API: read a request into the neutral form, and write a request from the neutral form."""

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

__all__ = ["read_responses", "write_responses"]

_READ: Final = frozenset(
    {"input", "instructions", "tools", "tool_choice", "max_output_tokens", "reasoning", "text", "include", "truncation",
     "background", "stream_options", "client_metadata"}
)  # fmt: skip
_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_IDENTITY: Final = frozenset({"type", "id", "status"})
"""Fields that identify an item and its state. The model does not need these fields."""
_DEFAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "include": (
        [],
        ["reasoning.encrypted_content"],
    ),  # this value asks for encrypted reasoning; other APIs have none, so it may be left out
    "truncation": ("disabled",),
    "background": (False,),
}
"""Values that mean the same as leaving the field out."""


def read_responses(body: Mapping[str, Any], target: str) -> NeutralRequest:
    """Return the request in *body*. Errors name *target*, the API that cannot express a field."""
    settings = read_settings(body, "responses", _READ)
    for name, values in _DEFAULTS.items():
        if name in body and body[name] not in values:
            refuse(name, target)
    if "max_output_tokens" in body:
        settings["max_tokens"] = NeutralParameter(body["max_output_tokens"], "max_output_tokens")
    if "reasoning" in body:
        reasoning = as_mapping(body["reasoning"], "reasoning", target)
        check_fields(reasoning, {"effort"}, "reasoning", target)
        if reasoning.get("effort") is not None:
            settings["effort"] = NeutralParameter(reasoning["effort"], "reasoning.effort")
    if "text" in body:
        text = as_mapping(body["text"], "text", target)
        check_fields(text, {"format", "verbosity"}, "text", target)
        if text.get("verbosity") is not None:
            settings["verbosity"] = NeutralParameter(text["verbosity"], "text.verbosity")
        if text.get("format") is not None:
            settings["format"] = NeutralParameter(_read_format(text["format"], target), "text.format")
    if "tool_choice" in body:
        settings["tool_choice"] = NeutralParameter(_read_choice(body["tool_choice"], target), "tool_choice")
    tools = body.get("tools")
    return NeutralRequest(
        source="responses",
        turns=tuple(_read_turns(body, target)),
        tools=None
        if tools is None
        else tuple(
            _read_tool(tool, f"tools[{i}]", target) for i, tool in enumerate(as_list(tools, "tools", target))
        ),
        settings=settings,
    )


def _read_turns(body: Mapping[str, Any], target: str) -> Iterator[Turn]:
    if "instructions" in body:
        yield Turn("system", as_text(body["instructions"], "instructions", target), "instructions")
    items = body.get("input")
    if isinstance(items, str):
        yield Turn("user", items, "input")
        return
    answer: list[Part] = []  # these items form one answer, which is a single message in other APIs
    first: Mapping[str, Any] = {}
    begun = ""
    for index, each in enumerate(as_list(items, "input", target)):
        where = f"input[{index}]"
        item = as_mapping(each, where, target)
        kind = str(item.get("type", "message"))
        is_answer = kind in {"function_call", "reasoning"} or (
            kind == "message" and item.get("role") == "assistant"
        )
        is_next = any(not isinstance(part, Thinking) for part in answer) and kind in {"message", "reasoning"}
        if answer and (not is_answer or is_next):
            yield _make_answer(answer, first, begun)
            answer = []
        if is_answer:
            begun, first = (begun, first) if answer else (where, item)
            answer += _read_answer(item, where, target)
        else:
            yield _read_item(item, where, target)
    if answer:
        yield _make_answer(answer, first, begun)


def _make_answer(parts: list[Part], first: Mapping[str, Any], where: str) -> Turn:
    text = first.get("content")
    return Turn("assistant", text if isinstance(text, str) and len(parts) == 1 else tuple(parts), where)


def _read_answer(item: Mapping[str, Any], where: str, target: str) -> Iterator[Part]:
    kind = str(item.get("type", "message"))
    if kind == "message":
        check_fields(item, _IDENTITY | {"role", "content"}, where, target)
        content = item.get("content")
        if isinstance(content, str):
            yield Text(content)
        else:
            yield from _read_parts(content, f"{where}.content", target)
    elif kind == "function_call":
        check_fields(item, _IDENTITY | {"call_id", "name", "arguments"}, where, target)
        fields = {
            name: as_text(item.get(name), f"{where}.{name}", target)
            for name in ("call_id", "name", "arguments")
        }
        yield ToolUse(id=fields["call_id"], name=fields["name"], arguments=fields["arguments"])
    else:
        check_fields(item, _IDENTITY | {"summary"}, where, target)
        for index, part in enumerate(as_list(item.get("summary") or (), f"{where}.summary", target)):
            summary = as_mapping(part, f"{where}.summary[{index}]", target)
            yield Thinking(as_text(summary.get("text"), f"{where}.summary[{index}].text", target))


def _read_item(item: Mapping[str, Any], where: str, target: str) -> Turn:
    kind = str(item.get("type", "message"))
    if kind == "function_call_output":
        check_fields(item, _IDENTITY | {"call_id", "output"}, where, target)
        output = item.get("output")
        result = output if isinstance(output, str) else tuple(_read_parts(output, f"{where}.output", target))
        return Turn(
            "user", (ToolResult(as_text(item.get("call_id"), f"{where}.call_id", target), result),), where
        )
    if kind != "message" or str(item.get("role")) not in _ROLES:
        name = "role" if kind == "message" else "type"
        refuse(f"{where}.{name}", target, f"an item of the {name} `{item.get(name)}` cannot be translated")
    check_fields(item, _IDENTITY | {"role", "content"}, where, target)
    content = item.get("content")
    read = content if isinstance(content, str) else tuple(_read_parts(content, f"{where}.content", target))
    return Turn(item["role"], read, where)


def _read_parts(content: Any, where: str, target: str) -> Iterator[Part]:
    for index, part in enumerate(as_list(content, where, target)):
        yield _read_part(as_mapping(part, f"{where}[{index}]", target), f"{where}[{index}]", target)


def _read_part(part: Mapping[str, Any], where: str, target: str) -> Part:
    kind = str(part.get("type"))
    if kind in {"input_text", "output_text"}:
        empty = {name for name in ("annotations", "logprobs") if not part.get(name)}
        check_fields(part, {"type", "text"} | empty, where, target)
        return Text(as_text(part.get("text"), f"{where}.text", target))
    if kind == "refusal":
        check_fields(part, {"type", "refusal"}, where, target)
        return RefusalPart(as_text(part.get("refusal"), f"{where}.refusal", target))
    if kind == "input_image":
        check_fields(part, {"type", "image_url", "detail"}, where, target)
        return Image(as_text(part.get("image_url"), f"{where}.image_url", target), part.get("detail"))
    if kind == "input_file":
        check_fields(part, {"type", "file_data", "file_url", "file_id", "filename"}, where, target)
        url = part.get("file_data") if part.get("file_url") is None else part["file_url"]
        return DocumentPart(url=url, file_id=part.get("file_id"), name=part.get("filename"))
    return refuse(f"{where}.type", target, f"a part of type `{kind}` cannot be translated")


def _read_tool(tool: Any, where: str, target: str) -> Tool:
    tool = as_mapping(tool, where, target)
    if tool.get("type") != "function":
        refuse(f"{where}.type", target, f"a tool of type `{tool.get('type')}` cannot be translated")
    check_fields(tool, {"type", "name", "description", "parameters", "strict"}, where, target)
    return Tool(
        name=as_text(tool.get("name"), f"{where}.name", target),
        description=tool.get("description"),
        schema=tool.get("parameters"),
        strict=tool.get("strict") or None,
        where=where,
    )


def _read_choice(choice: Any, target: str) -> ToolChoice:
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    choice = as_mapping(choice, "tool_choice", target)
    if choice.get("type") != "function":
        refuse("tool_choice.type", target)
    check_fields(choice, {"type", "name"}, "tool_choice", target)
    return ToolChoice("function", as_text(choice.get("name"), "tool_choice.name", target))


def _read_format(value: Any, target: str) -> Format:
    value = as_mapping(value, "text.format", target)
    kind = str(value.get("type"))
    if kind not in {"text", "json_object", "json_schema"}:
        refuse("text.format.type", target)
    known = {"type", "name", "schema", "description", "strict"} if kind == "json_schema" else {"type"}
    check_fields(value, known, "text.format", target)
    return Format(
        str(kind), value.get("schema"), value.get("name"), value.get("description"), value.get("strict")
    )


# -- writing


def write_responses(request: NeutralRequest) -> dict[str, Any]:
    """Return *request* as a body of the Responses API.

    Raises:
        BadRequest: The Responses API cannot express a part of *request*.
    """
    body: dict[str, Any] = {"input": [item for turn in request.turns for item in _write_turn(turn)]}
    settings = dict(request.settings)
    if "max_tokens" in settings:
        body["max_output_tokens"] = settings.pop("max_tokens").value
    if "effort" in settings:
        body["reasoning"] = {"effort": settings.pop("effort").value}
    text: dict[str, Any] = {}
    if "format" in settings:
        text["format"] = _write_format(settings.pop("format").value)
    if "verbosity" in settings:
        text["verbosity"] = settings.pop("verbosity").value
    if text:
        body["text"] = text
    if request.tools is not None:
        body["tools"] = [_write_tool(tool) for tool in request.tools]
    if "tool_choice" in settings:
        choice = settings.pop("tool_choice").value
        body["tool_choice"] = (
            {"type": "function", "name": choice.name} if choice.kind == "function" else choice.kind
        )
    write_settings(settings, "responses", body)
    for setting in settings.values():
        refuse(setting.where, "responses")
    return body


def _write_turn(turn: Turn) -> Iterator[dict[str, Any]]:
    if isinstance(turn.content, str):
        yield {"role": turn.role, "content": turn.content}
        return
    said: list[dict[str, Any]] = []
    has_calls = any(isinstance(part, ToolUse) for part in turn.content)
    for part in turn.content:
        if isinstance(part, ToolUse | ToolResult):
            if said:
                yield _write_message(turn.role, said, has_calls=has_calls)
                said = []
            yield _write_call(part, turn.where)
        else:
            said.append(_write_part(part, turn))
    if said or not turn.content:
        yield _write_message(turn.role, said, has_calls=has_calls)


def _write_message(role: str, parts: list[dict[str, Any]], *, has_calls: bool) -> dict[str, Any]:
    only_text = has_calls and len(parts) == 1 and parts[0]["type"] == "output_text"
    return {"role": role, "content": parts[0]["text"] if only_text else parts}


def _write_call(part: ToolUse | ToolResult, where: str) -> dict[str, Any]:
    if isinstance(part, ToolUse):
        return {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
    content = part.content
    turn = Turn("user", (), where)
    output = content if isinstance(content, str) else [_write_part(each, turn) for each in content]
    return {"type": "function_call_output", "call_id": part.id, "output": output}


def _write_part(part: Part, turn: Turn) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "output_text" if turn.role == "assistant" else "input_text", "text": part.text}
    if isinstance(part, RefusalPart):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Image):
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "input_image", "image_url": part.url, **detail}
    if isinstance(part, DocumentPart):
        is_data = part.url is not None and part.url.startswith("data:")
        fields = {
            "file_data" if is_data else "file_url": part.url,
            "file_id": part.file_id,
            "filename": part.name,
        }
        return {"type": "input_file", **{name: value for name, value in fields.items() if value is not None}}
    return refuse(
        turn.where,
        "responses",
        f"`{turn.where}` has reasoning without an id; the Responses API accepts reasoning only with its id",
    )


def _write_tool(tool: Tool) -> dict[str, Any]:
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    # In the Responses API a tool without the field `strict` is strict.
    strict = {} if tool.schema is None and not tool.strict else {"strict": bool(tool.strict)}
    return {
        "type": "function",
        **{name: value for name, value in fields.items() if value is not None},
        **strict,
    }


def _write_format(wanted: Format) -> dict[str, Any]:
    fields = {
        "type": wanted.kind,
        "name": (wanted.name or "answer") if wanted.kind == "json_schema" else None,
        "description": wanted.description,
        "schema": wanted.schema,
        "strict": wanted.strict,
    }
    return {name: value for name, value in fields.items() if value is not None}
