"""Translate a chat for the models that only answer in the Responses API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Delta
from llmcore_openai_optimized.known_models import MODELS
from llmcore_openai_optimized.responses_reader import ResponsesReader

__all__ = ["TranslatedReader", "TranslatedRequest", "translate_chat"]

_ONLY_RESPONSES: Final = frozenset(
    name
    for name in MODELS
    if re.search(
        r"^(o\d|gpt-[\d.]+)-(pro|codex|deep-research)|^o\d-mini-deep-research|^codex|^computer-use", name
    )
)
"""Source: https://platform.openai.com/docs/models, read 2026-11: "Responses API only"."""

_SAME: Final = frozenset(
    {
        "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "safety_identifier", "service_tier", "store", "temperature", "top_p", "user",
    }
)  # fmt: skip
"""Parameters that both APIs have under one name."""
_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens"})
_IGNORED: Final = frozenset({"stream_options"})
"""Every stream of the Responses API reports its usage."""


class TranslatedRequest(ChatRequest, frozen=True, kw_only=True):
    """A chat as a request of the Responses API."""


class TranslatedReader(ResponsesReader):
    """Reads the answer to a translated chat, whose events are not those of a chat."""

    def feed(self, data: bytes) -> list[Delta]:
        """See `ResponsesReader.feed`."""
        return [_drop_event(delta) for delta in super().feed(data) if delta.has_content]

    def end(self) -> list[Delta]:
        """See `ResponsesReader.end`."""
        return [_drop_event(delta) for delta in super().end() if delta.has_content]


def translate_chat(request: ChatRequest) -> ChatRequest:
    """Return *request*, translated if its model only answers in the Responses API.

    Raises:
        BadRequest: A message or a parameter has no counterpart there.
    """
    if request.api != "chat" or request.model not in _ONLY_RESPONSES:
        return request
    parameters: dict[str, Any] = {"input": [item for each in request.messages for item in _iter_items(each)]}
    for name, value in request.parameters.items():
        _translate_parameter(name, value, parameters, request.model)
    return TranslatedRequest(
        model=request.model,
        messages=(),
        parameters=parameters,
        timeout_s=request.timeout_s,
        idle_s=request.idle_s,
        api="responses",
    )


def _translate_parameter(name: str, value: Any, parameters: dict[str, Any], model: str) -> None:
    text: dict[str, Any] = parameters.get("text", {})
    if name in _SAME:
        parameters[name] = value
    elif name in _LIMITS:
        parameters["max_output_tokens"] = value
    elif name == "reasoning_effort":
        parameters["reasoning"] = {"effort": value}
    elif name == "verbosity":
        parameters["text"] = {**text, "verbosity": value}
    elif name == "response_format" and isinstance(value, Mapping):
        parameters["text"] = {
            **text,
            "format": {"type": value.get("type"), **(value.get("json_schema") or {})},
        }
    elif name == "tools" and isinstance(value, list):
        parameters["tools"] = [_flatten(tool) for tool in value]
    elif name == "tool_choice":
        parameters["tool_choice"] = _flatten(value)
    elif name == "n" and value == 1:
        return
    elif name not in _IGNORED:
        raise _make_error(name, f"the model `{model}` answers in the Responses API, which has no `{name}`")


def _iter_items(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the items of the input for one message."""
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        output = content if isinstance(content, str) else _translate_parts(content, "user")
        yield {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}
        return
    if content:
        translated = content if isinstance(content, str) else _translate_parts(content, str(role))
        yield {"role": role, "content": translated}
    for call in message.get("tool_calls") or ():
        function = call.get("function")
        if not isinstance(function, Mapping):
            raise _make_error(
                "messages", "a call of a custom tool cannot be translated for the Responses API"
            )
        arguments = {"name": function.get("name"), "arguments": function.get("arguments")}
        yield {"type": "function_call", "call_id": call.get("id"), **arguments}


def _translate_parts(content: Any, role: str) -> list[dict[str, Any]]:
    return [_translate_part(part, role) for part in content if isinstance(part, Mapping)]


def _translate_part(part: Mapping[str, Any], role: str) -> dict[str, Any]:
    kind, inner = part.get("type"), part.get(str(part.get("type")))
    if kind == "text":
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.get("text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if kind == "image_url" and isinstance(inner, Mapping):
        detail = {"detail": inner["detail"]} if inner.get("detail") else {}
        return {"type": "input_image", "image_url": inner.get("url"), **detail}
    if kind == "file" and isinstance(inner, Mapping):
        return {"type": "input_file", **inner}
    raise _make_error("messages", f"a part of type `{kind}` cannot be translated for the Responses API")


def _flatten(tool: Any) -> Any:
    """Return a tool, or the choice of one, without the object around its function."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    inner = tool.get(kind) if isinstance(kind, str) else None
    if not isinstance(inner, Mapping):
        return tool
    strict = (
        {"strict": False} if kind == "function" and "parameters" in inner and "strict" not in inner else {}
    )
    return {"type": kind, **inner, **strict}


def _drop_event(delta: Delta) -> Delta:
    return msgspec.structs.replace(delta, raw=None, event_name=None)


def _make_error(where: str, message: str) -> BadRequest:
    return BadRequest(
        message,
        code="LC308",
        where=where,
        expected="a chat that the Responses API can express",
        fix='core.llm.send({...}, api="responses")',
    )
