"""Translate messages of Chat Completions to messages of the Messages API.

A field without a counterpart in the Messages API raises an error that names the field. `llmcore.support.translation`
is not used here, because it translates only fields that both APIs have. This provider also accepts fields of the
Messages API inside messages of Chat Completions, such as content blocks and `cache_control`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from llmcore.errors import BadRequest
from llmcore.support.errors import raise_unchained

__all__ = ["Block", "refuse", "translate_messages"]

Block = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]+)*;base64,", re.ASCII)
_SYSTEM: Final = frozenset({"system", "developer"})
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "refusal"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
    "system": frozenset({"role", "content"}),
    "developer": frozenset({"role", "content"}),
}


def translate_messages(messages: Sequence[Any]) -> tuple[list[Block], list[Block]]:
    """Return the system blocks and the messages.

    Results of tools become blocks of a user message, as the API expects; consecutive results become one message.

    Raises:
        BadRequest: A message or a part has no counterpart in the Messages API. The error names the message or the
            part.
    """
    system: list[Block] = []
    translated: list[Block] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = _check_message(message, where)
        if role in _SYSTEM:
            system += _translate_content(message.get("content"), where)
        elif role == "tool":
            result = _translate_result(message, where)
            if translated and _is_results(translated[-1]):
                translated[-1]["content"].append(result)
            else:
                translated.append({"role": "user", "content": [result]})
        elif role == "assistant":
            translated.append({"role": "assistant", "content": _translate_assistant(message, where)})
        else:
            content = message.get("content")
            blocks = content if isinstance(content, str) else _translate_content(content, where)
            translated.append({"role": "user", "content": blocks})
    return system, translated


def refuse(what: str, where: str, expected: str = "") -> NoReturn:
    """Raise the error for a field that the Messages API does not have."""
    raise BadRequest(
        what,
        code="LC308",
        provider="anthropic",
        where=where,
        expected=expected or "a field that Anthropic's Messages API has",
    )


def _check_message(message: Any, where: str) -> str:
    if not isinstance(message, Mapping):
        refuse(
            f"{where} must be a message, got {type(message).__name__}", where, '{"role": ..., "content": ...}'
        )
    role: Any = message.get("role")
    if role not in _FIELDS:
        expected = ", ".join(sorted(_FIELDS))
        refuse(f"{where}.role must be one of {expected}, got {role!r:.40}", f"{where}.role", expected)
    for name, value in message.items():
        if name not in _FIELDS[role] and value is not None:
            refuse(f"{where}.{name} has no counterpart in the Messages API", f"{where}.{name}")
    return str(role)


def _translate_content(content: Any, where: str) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, Iterable) or isinstance(content, Mapping | bytes):
        got = "nothing" if content is None else type(content).__name__
        refuse(f"{where}.content must be text or a list of parts, got {got}", f"{where}.content")
    return [_translate_part(part, f"{where}.content[{index}]") for index, part in enumerate(content)]


def _translate_part(part: Any, where: str) -> Block:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
        refuse(f"{where} must be a part with a type", where, '{"type": "text", "text": ...}')
    kind = part["type"]
    if kind == "image_url":
        return _add_rest(_translate_image(part, where), part, {"type", "image_url"})
    if kind == "file":
        return _add_rest(_translate_file(part, where), part, {"type", "file"})
    if kind in {"input_audio", "refusal"}:
        if kind == "refusal":
            return {"type": "text", "text": part.get("refusal") or ""}
        refuse(f"{where}.type must not be input_audio: the Messages API takes no audio", f"{where}.type")
    return dict(part)  # a text, or a block of the Messages API: image, document, thinking, tool_result, ...


def _add_rest(block: Block, part: Mapping[str, Any], known: set[str]) -> Block:
    """Return *block* with the other fields of *part*, such as `cache_control`, which are fields of the Messages API."""
    return {**block, **{name: value for name, value in part.items() if name not in known}}


def _translate_image(part: Mapping[str, Any], where: str) -> Block:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if isinstance(image, Mapping) and image.get("detail") not in {None, "auto"}:
        refuse(
            f"{where}.image_url.detail has no counterpart in the Messages API", f"{where}.image_url.detail"
        )
    if not isinstance(url, str):
        refuse(f"{where}.image_url.url must be text", f"{where}.image_url.url", "an address or a data URL")
    return {"type": "image", "source": _make_source(url, where)}


def _translate_file(part: Mapping[str, Any], where: str) -> Block:
    file = part.get("file")
    if not isinstance(file, Mapping):
        refuse(
            f"{where}.file must be an object",
            f"{where}.file",
            '{"file_data": "data:application/pdf;base64,..."}',
        )
    data, file_id = file.get("file_data"), file.get("file_id")
    if isinstance(file_id, str):
        source = {"type": "file", "file_id": file_id}
    elif isinstance(data, str):
        source = _make_source(data, f"{where}.file.file_data")
        if source.get("media_type", "").startswith("image/"):
            return {"type": "image", "source": source}
    else:
        refuse(f"{where}.file must have file_data or file_id", f"{where}.file")
    name = file.get("filename")
    return {"type": "document", "source": source, **({"title": name} if isinstance(name, str) else {})}


def _make_source(url: str, where: str) -> dict[str, str]:
    head = _DATA_URL.match(url[:200])
    if head is not None:
        return {"type": "base64", "media_type": head[1].lower(), "data": url[head.end() :]}
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    refuse(
        f"{where} must be an address or a data URL with base64", where, "https://... or data:TYPE;base64,..."
    )


def _translate_assistant(message: Mapping[str, Any], where: str) -> list[Block] | str:
    content = message.get("content")
    calls = message.get("tool_calls") or ()
    refusal = message.get("refusal")
    if isinstance(content, str) and not calls and not refusal:
        return content
    blocks = [] if content in (None, "") else _translate_content(content, where)
    if isinstance(refusal, str) and refusal:
        blocks.append({"type": "text", "text": refusal})
    blocks += [_translate_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return blocks


def _translate_call(call: Any, where: str) -> Block:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        refuse(f"{where} must be the call of a function", where)
    arguments: Any = function.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise_unchained(
                BadRequest(
                    f"{where}.function.arguments must be JSON",
                    code="LC308",
                    provider="anthropic",
                    where=f"{where}.function.arguments",
                    expected="a JSON object as text",
                )
            )
    return {"type": "tool_use", "id": call.get("id") or "", "name": function["name"], "input": arguments}


def _translate_result(message: Mapping[str, Any], where: str) -> Block:
    content = message.get("content")
    blocks = content if isinstance(content, str) else _translate_content(content, where)
    return {"type": "tool_result", "tool_use_id": message.get("tool_call_id") or "", "content": blocks}


def _is_results(message: Block) -> bool:
    content = message["content"]
    return (
        message["role"] == "user" and isinstance(content, list) and content[-1].get("type") == "tool_result"
    )
