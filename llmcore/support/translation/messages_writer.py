"""The Messages API: write a request from the neutral form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

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
    ToolResult,
    ToolUse,
    Turn,
    refuse,
    split_data_url,
)
from llmcore.support.translation.settings import write_settings

__all__ = ["write_messages"]

_SYSTEM: Final = frozenset({"system", "developer"})
_CACHE_PARAMETERS: Final = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention")
"""These parameters change the price but not the answer, so they are omitted."""
_EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "none": "none", "required": "any", "function": "tool"}
_TIERS: Final[Mapping[Any, str]] = {"auto": "auto", "default": "standard_only"}


def write_messages(request: NeutralRequest) -> dict[str, Any]:
    """Return *request* as a body of the Messages API.

    The API requires `max_tokens`. If *request* has no limit, the body lacks `max_tokens`, and the caller must set it.

    Raises:
        BadRequest: The Messages API cannot express a part of *request*.
    """
    body: dict[str, Any] = {}
    turns = list(request.turns)
    leading = next((i for i, turn in enumerate(turns) if turn.role not in _SYSTEM), len(turns))
    if leading:
        body["system"] = _write_system(turns[:leading])
    body["messages"] = _write_turns(turns[leading:])
    settings = dict(request.settings)
    if "max_tokens" in settings:
        body["max_tokens"] = settings.pop("max_tokens").value
    if "stop" in settings:
        body["stop_sequences"] = settings.pop("stop").value
    if "user" in settings:
        body["metadata"] = {"user_id": settings.pop("user").value}
    if "service_tier" in settings:
        tier = settings.pop("service_tier")
        body["service_tier"] = _TIERS.get(str(tier.value)) or refuse(tier.where, "messages")
    if "store" in settings and settings["store"].value is False:
        del settings["store"]  # the Messages API stores nothing
    for name in _CACHE_PARAMETERS:
        settings.pop(name, None)
    _write_output(body, settings)
    if request.tools is not None:
        body["tools"] = [_write_tool(tool) for tool in request.tools]
    _write_choice(body, settings)
    write_settings(settings, "messages", body)
    for setting in settings.values():
        refuse(setting.where, "messages")
    return body


def _write_system(turns: Sequence[Turn]) -> str | list[dict[str, Any]]:
    if len(turns) == 1 and isinstance(turns[0].content, str):
        return turns[0].content
    blocks: list[dict[str, Any]] = []
    for turn in turns:
        parts = (Text(turn.content),) if isinstance(turn.content, str) else turn.content
        for part in parts:
            if not isinstance(part, Text):
                refuse(
                    turn.where,
                    "messages",
                    f"`{turn.where}` has a part other than text, which instructions cannot have",
                )
            blocks.append({"type": "text", "text": part.text})
    return blocks


def _write_turns(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return the messages. Tool results and the following blocks of the user become one message."""
    messages: list[dict[str, Any]] = []
    follows_results = False
    for turn in turns:
        if turn.role in _SYSTEM:
            refuse(
                f"{turn.where}.role",
                "messages",
                f"`{turn.where}` has instructions after the conversation has begun",
            )
        content = turn.content
        has_results = not isinstance(content, str) and any(isinstance(part, ToolResult) for part in content)
        blocks = content if isinstance(content, str) else [_write_part(part, turn.where) for part in content]
        if follows_results and turn.role == "user" and not isinstance(blocks, str):
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": turn.role, "content": blocks})
        follows_results = has_results and all(isinstance(part, ToolResult) for part in content)
    return messages


def _write_part(part: Part, where: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    if isinstance(part, ToolUse):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": _read_arguments(part, where)}
    if isinstance(part, ToolResult):
        content = part.content
        blocks = content if isinstance(content, str) else [_write_part(each, where) for each in content]
        return {"type": "tool_result", "tool_use_id": part.id, "content": blocks}
    return _write_file(part, where)


def _write_file(part: Image | DocumentPart | RefusalPart, where: str) -> dict[str, Any]:
    if isinstance(part, Image):
        if str(part.detail) not in {"None", "auto"}:
            refuse(f"{where}.detail", "messages", f"`detail` of an image in `{where}` cannot be translated")
        return {"type": "image", "source": _write_source(part.url, where)}
    if isinstance(part, DocumentPart):
        source = {"type": "file", "file_id": part.file_id}
        if part.url is not None:
            source = _write_source(part.url, where)
        return {"type": "document", "source": source, **({} if part.name is None else {"title": part.name})}
    return refuse(f"{where}.refusal", "messages")


def _read_arguments(call: ToolUse, where: str) -> Any:
    try:
        return msgspec.json.decode(call.arguments)
    except (ValueError, RecursionError):
        pass
    return refuse(where, "messages", f"the arguments of the call `{call.name}` in `{where}` must be JSON")


def _write_source(url: str, where: str) -> dict[str, Any]:
    data = split_data_url(url)
    if data is not None:
        return {"type": "base64", "media_type": data[0], "data": data[1]}
    if not url.startswith(("http://", "https://")):
        refuse(where, "messages", f"`{where}` must have an address or a data URL with base64")
    return {"type": "url", "url": url}


def _write_output(body: dict[str, Any], settings: dict[str, NeutralParameter]) -> None:
    """Write the format of the answer, the effort and whether to think."""
    config: dict[str, Any] = {}
    if "format" in settings:
        wanted = settings.pop("format")
        if wanted.value.kind != "text":
            config["format"] = _write_format(wanted.value, wanted.where)
    if "effort" in settings:
        effort = settings.pop("effort")
        if effort.value == "none":
            body["thinking"] = {"type": "disabled"}
        elif str(effort.value) in _EFFORTS:
            config["effort"] = effort.value
        else:
            refuse(effort.where, "messages")
    if config:
        body["output_config"] = config


def _write_format(wanted: Format, where: str) -> dict[str, Any]:
    if wanted.kind != "json_schema" or not isinstance(wanted.schema, Mapping):
        refuse(where, "messages")
    if wanted.description is not None:
        refuse(f"{where}.description", "messages")
    if wanted.strict is False:
        refuse(f"{where}.strict", "messages")  # the Messages API makes every answer match the schema
    titled = wanted.name is None or wanted.name == "answer" or "title" in wanted.schema
    schema = dict(wanted.schema) if titled else {"title": wanted.name, **wanted.schema}
    return {"type": "json_schema", "schema": schema}


def _write_tool(tool: Tool) -> dict[str, Any]:
    fields = {"description": tool.description, "strict": tool.strict}
    schema = {"type": "object", "properties": {}} if tool.schema is None else tool.schema
    given = {name: value for name, value in fields.items() if value is not None}
    return {"name": tool.name, **given, "input_schema": schema}


def _write_choice(body: dict[str, Any], settings: dict[str, NeutralParameter]) -> None:
    choice = settings.pop("tool_choice", None)
    written: dict[str, Any] = {}
    if choice is not None:
        name = {} if choice.value.name is None else {"name": choice.value.name}
        written = {"type": _CHOICES[choice.value.kind], **name}
    parallel = settings.pop("parallel_tool_calls", None)
    if parallel is not None and parallel.value is False and written.get("type") != "none":
        written = {**(written or {"type": "auto"}), "disable_parallel_tool_use": True}
    if written:
        body["tool_choice"] = written
