"""Translate a chat request to the body of `POST /v1/messages`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.support.errors import raise_unchained
from llmcore.types import ChatRequest
from llmcore_anthropic.content import Block, refuse, translate_messages

__all__ = ["COUNTED", "encode", "make_body"]

_encoder: Final = msgspec.json.Encoder(decimal_format="number")

COUNTED: Final = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "mcp_servers"}
)
"""The fields that `POST /v1/messages/count_tokens` accepts."""

_CHOICES: Final[Mapping[str, str]] = {"auto": "auto", "none": "none", "required": "any", "any": "any"}
_TRANSLATED: Final = frozenset(
    {"max_completion_tokens", "max_tokens", "parallel_tool_calls", "reasoning_effort", "response_format", "stop",
     "tool_choice", "tools", "user"}
)  # fmt: skip


def make_body(request: ChatRequest, *, default_max_tokens: int, stream: bool = False) -> dict[str, Any]:
    """Return the body.

    Args:
        request: The request of the host, in the format of Chat Completions or of the Messages API.
        default_max_tokens: The value for a request without `max_tokens`. The API requires this parameter.
        stream: True if the answer is streamed.

    Raises:
        BadRequest: A field has no counterpart. The error names the field.
    """
    parameters = {name: value for name, value in request.parameters.items() if value is not None}
    if request.api == "messages":
        streamed = {"stream": True} if stream else {}
        return {"model": request.model, "max_tokens": default_max_tokens, **parameters, **streamed}
    system, messages = translate_messages(request.messages)
    limit = parameters.get("max_completion_tokens", parameters.get("max_tokens", default_max_tokens))
    body: dict[str, Any] = {"model": request.model, "max_tokens": limit, "messages": messages}
    if system:
        only_text = len(system) == 1 and system[0].keys() == {"type", "text"}
        body["system"] = system[0]["text"] if only_text else system
    body |= {name: value for name, value in parameters.items() if name not in _TRANSLATED}
    _add_tools(body, parameters)
    _add_output(body, parameters)
    if "stop" in parameters:
        stop = parameters["stop"]
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if "user" in parameters:
        body["metadata"] = {**(body.get("metadata") or {}), "user_id": parameters["user"]}
    if stream:
        body["stream"] = True
    return body


def encode(body: Mapping[str, Any]) -> bytes:
    """Return *body* as JSON.

    Raises:
        BadRequest: A text has a lone surrogate, or a value is not JSON.
    """
    try:
        return _encoder.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise_unchained(
            BadRequest(
                f"the request is not JSON: {error}",
                provider="anthropic",
                expected="texts, numbers, lists and dicts, without lone surrogates",
            )
        )


def _add_tools(body: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    if "tools" in parameters:
        tools = parameters["tools"]
        if not isinstance(tools, Sequence) or isinstance(tools, str):
            refuse(f"tools must be a list, got {type(tools).__name__}", "tools")
        body["tools"] = [_translate_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    choice = _translate_choice(parameters["tool_choice"]) if "tool_choice" in parameters else None
    if parameters.get("parallel_tool_calls") is False:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _translate_tool(tool: Any, where: str) -> Block:
    if not isinstance(tool, Mapping):
        refuse(f"{where} must be an object, got {type(tool).__name__}", where)
    if tool.get("type") != "function" or "function" not in tool:
        return dict(tool)  # a tool in the format of the Messages API, such as a server tool
    function = tool["function"]
    if not isinstance(function, Mapping):
        refuse(f"{where}.function must be an object", f"{where}.function")
    rest = {name: value for name, value in tool.items() if name not in {"type", "function"}}
    translated = {
        "name": function.get("name"),
        "description": function.get("description"),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        "strict": function.get("strict"),
    }
    return {**{name: value for name, value in translated.items() if value is not None}, **rest}


def _translate_choice(choice: Any) -> Block:
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if choice.get("type") == "function" and isinstance(function, Mapping):
            return {"type": "tool", "name": function.get("name")}
        if choice.get("type") in {"auto", "any", "tool", "none"}:
            return dict(choice)
    return refuse(
        f"tool_choice has no counterpart in the Messages API: {choice!r:.60}",
        "tool_choice",
        '"auto", "none", "required", or a function',
    )


def _add_output(body: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    """Add the format of the answer and the effort, which share `output_config`."""
    config = dict(body.get("output_config") or {})
    wanted = parameters.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        schema = wanted.get("json_schema")
        config["format"] = {
            "type": "json_schema",
            "schema": schema.get("schema") if isinstance(schema, Mapping) else schema,
        }
    elif wanted is not None and not (isinstance(wanted, Mapping) and wanted.get("type") == "text"):
        refuse(
            "response_format must have the type json_schema or text for Anthropic",
            "response_format",
            '{"type": "json_schema", ...}, or a Python type such as a dataclass',
        )
    effort = parameters.get("reasoning_effort")
    if effort == "none":
        body.setdefault("thinking", {"type": "disabled"})
    elif effort is not None:
        config["effort"] = "low" if effort == "minimal" else effort
    if config:
        body["output_config"] = config
