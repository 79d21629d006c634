"""Validate chat requests by OpenAI's rules, with OpenAI's error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator.openai_errors import Refused, make_invalid
from llmcore_testing.simulator.tokens import get_text

__all__ = ["check_chat", "find_forced_tool"]

_ROLES: Final = frozenset({"system", "assistant", "user", "function", "tool", "developer"})
_ROLE_LIST: Final = "'system', 'assistant', 'user', 'function', 'tool', and 'developer'"
_RANGES: Final[Mapping[str, tuple[type[int | float], float, float]]] = {
    "frequency_penalty": (float, -2, 2),
    "max_completion_tokens": (int, 1, 1e9),
    "max_tokens": (int, 1, 1e9),
    "n": (int, 1, 128),
    "presence_penalty": (float, -2, 2),
    "temperature": (float, 0, 2),
    "top_logprobs": (int, 0, 20),
    "top_p": (float, 0, 1),
}
_KINDS: Final = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", dict: "an object", list: "an array"}  # fmt: skip


def check_chat(body: Mapping[str, Any]) -> None:
    """Check the messages and the common parameters of *body*.

    Raises:
        Refused: The request is invalid. The message describes the first error.
    """
    messages = body.get("messages")
    if messages is None:
        raise make_invalid(
            "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
        )
    if not isinstance(messages, list):
        raise _make_type_error("messages", "an array of objects", messages)
    if not messages:
        raise make_invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array "
            "instead.",
            param="messages",
            code="empty_array",
        )
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    for name, (kind, least, most) in _RANGES.items():
        if (value := body.get(name)) is not None:
            _check_range(name, value, kind, least, most)
    if "stream" in body and not isinstance(body["stream"], bool | None):
        raise _make_type_error("stream", "a boolean", body["stream"])
    if body.get("stream_options") and not body.get("stream"):
        raise make_invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    _check_format(body, messages)
    _check_tools(body)


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise _make_type_error(where, "an object", message)
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise _make_missing_error(f"{where}.role")
    if role not in _ROLES:
        message_text = f"Invalid value: '{role}'. Supported values are: {_ROLE_LIST}."
        raise make_invalid(message_text, param=f"{where}.role", code="invalid_value")
    if content is None and not (role == "assistant" and _has_other_content(message)):
        raise make_invalid(
            f"Invalid value for 'content': expected a string, got null. ({where})",
            param=f"{where}.content",
        )
    if not isinstance(content, str | list | None):
        raise _make_type_error(f"{where}.content", "one of a string or array of objects", content)
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict):
            raise _make_type_error(f"{where}.content[{index}]", "an object", part)
        if not isinstance(part.get("type"), str):
            raise _make_missing_error(f"{where}.content[{index}].type")
    if role == "tool" and not message.get("tool_call_id"):
        raise _make_missing_error(f"{where}.tool_call_id")


def _has_other_content(message: Mapping[str, Any]) -> bool:
    return any(message.get(name) for name in ("tool_calls", "function_call", "audio", "refusal"))


def _check_range(name: str, value: Any, kind: type[int | float], least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise _make_type_error(name, "an integer" if kind is int else "a decimal", value)
    word = "integer" if kind is int else "decimal"
    for side, sign, bound, wrong in (
        ("below", ">=", least, value < least),
        ("above", "<=", most, value > most),
    ):
        if wrong:
            edge = "minimum" if side == "below" else "maximum"
            raise make_invalid(
                f"Invalid '{name}': {word} {side} {edge} value. Expected a value {sign} {bound:g}, but got {value} "
                "instead.",
                param=name,
                code=f"{word}_{side}_{edge[:3]}_value",
            )


def _check_format(body: Mapping[str, Any], messages: list[Any]) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in {"text", "json_object", "json_schema"}:
        message = f"Invalid value: {kind!r}. Supported values are: 'json_object', 'json_schema', and 'text'."
        raise make_invalid(message, param="response_format.type", code="invalid_value")
    if kind == "json_object" and not any("json" in get_text(m.get("content")).lower() for m in messages):
        raise make_invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )
    if kind != "json_schema":
        return
    described = wanted.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise _make_missing_error("response_format.json_schema.name")
    if not isinstance(described.get("schema"), dict):
        raise _make_missing_error("response_format.json_schema.schema")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not isinstance(tools, list):
        raise _make_type_error("tools", "an array of objects", tools)
    names = []
    for index, tool in enumerate(tools or ()):
        inner = tool.get(tool.get("type")) if isinstance(tool, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            raise _make_missing_error(f"tools[{index}].function.name")
        names.append(inner["name"])
    if choice is None:
        return
    if not names:
        raise make_invalid("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if isinstance(choice, str) and choice not in {"none", "auto", "required"}:
        message = f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
        raise make_invalid(message, param="tool_choice", code="invalid_value")
    if isinstance(choice, dict) and (named := find_forced_tool(choice)) and named not in names:
        raise make_invalid(f"Tool choice '{named}' not found in 'tools' parameter.", param="tool_choice")


def find_forced_tool(choice: Mapping[str, Any]) -> str | None:
    """Return the name of the tool that *choice* forces; None if *choice* names no tool."""
    inner = choice.get(str(choice.get("type")))
    return inner.get("name") if isinstance(inner, dict) else None


def _make_missing_error(param: str) -> Refused:
    return make_invalid(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def _make_type_error(param: str, expected: str, value: Any) -> Refused:
    got = _KINDS.get(type(value), "null")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return make_invalid(message, param=param, code="invalid_type")
