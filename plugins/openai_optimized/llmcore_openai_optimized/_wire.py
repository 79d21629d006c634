"""Requests as bytes, and whole answers as replies; reads no network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Reply, ToolCall
from llmcore_openai_optimized._errors import Answered, Errors
from llmcore_openai_optimized._rate_limits import rate_limits
from llmcore_openai_optimized._usage import usage_of

__all__ = ["LARGEST_BODY", "begun_text", "call_from", "decode", "encode", "reply_from", "text_from"]

LARGEST_BODY: Final = 32_000_000
"""Bytes of an answer beyond which it is not read on."""


_BEGUN: Final = re.compile(rb'"content"\s*:\s*"((?:[^"\\]+|\\.)*\\?)', re.DOTALL)


class _Message(msgspec.Struct):
    content: str | list[Any] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    function_call: dict[str, Any] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    index: int = 0
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: Any = None
    service_tier: str | None = None
    error: Any = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Completion)


def encode(request: ChatRequest, *, stream: bool) -> bytes:
    """Return the request as it goes on the wire.

    Raises:
        BadRequest: It holds what JSON cannot.
    """
    body = request.body()
    if stream:
        asked = body.get("stream_options")
        body |= {"stream": True, "stream_options": {"include_usage": True, **(asked or {})}}
    try:
        return _encoder.encode(body)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        cause = str(error)
    raise BadRequest(
        f"the request is not JSON: {cause}",
        provider="openai",
        expected="texts, numbers, lists and dicts",
    )


def reply_from(body: bytes, headers: Mapping[str, str], request: ChatRequest, errors: Errors) -> Reply:
    """Return the reply that *body*, an answer with status 200, holds.

    Raises:
        Answered: It is no chat completion, or says that something went wrong.
    """
    try:
        completion, body = decode(body, _decoder)
    except ValueError as error:  # msgspec's and json's errors are ValueErrors
        what = f"something that is no chat completion ({error})" if body.strip() else "an empty body"
        raise Answered(errors.malformed(what, headers, partial=begun_text(body))) from None
    if not completion.choices:
        if completion.error is not None:
            raise Answered(errors.reported({"error": completion.error}, headers, request.model))
        raise Answered(errors.malformed("a completion without a choice", headers))
    choice = completion.choices[0]
    message = choice.message
    calls = message.tool_calls or ()
    made = tuple(call_from(call, position) for position, call in enumerate(calls))
    if message.function_call is not None:
        made = (*made, call_from({"function": message.function_call}, len(made)))
    text = text_from(message.content)
    return Reply(
        text=text,
        model=completion.model or request.model,
        finish_reason=choice.finish_reason,
        usage=usage_of(
            completion.usage,
            request,
            completion.model or "",
            lambda: _messages(body),
            spoke=bool(text or made),
        ),
        tool_calls=made,
        service_tier=completion.service_tier,
        request_id=headers.get("x-request-id"),
        body=body,
        limits=rate_limits(headers),
    )


def begun_text(body: bytes) -> str | None:
    """Return the text of an answer as far as *body*, which is broken, holds it; None where it has not begun."""
    found = _BEGUN.search(body)
    if found is None:
        return None
    text = found[1].decode(errors="ignore")
    for end in (None, -1, -2, -3, -4, -5):  # an escape may be cut in two
        try:
            begun: str = json.loads(f'"{text[:end]}"', strict=False)
        except ValueError:
            continue
        return begun.encode(errors="ignore").decode()  # half a character may be left of two escapes
    return None


def decode(body: bytes, decoder: msgspec.json.Decoder[Any]) -> tuple[Any, bytes]:
    """Decode *body*; return the value, and the body as JSON that everybody reads.

    Some servers write NaN, which is no JSON but says enough: it becomes null.

    Raises:
        ValueError: It is neither JSON nor nearly JSON, or of another shape.
    """
    try:
        return decoder.decode(body), body
    except msgspec.DecodeError:
        if b"NaN" not in body and b"Infinity" not in body:
            raise
    mended = _encoder.encode(json.loads(body))
    return decoder.decode(mended), mended


def _messages(body: bytes) -> list[Mapping[str, Any]]:
    choices: list[dict[str, Any]] = msgspec.json.decode(body)["choices"]
    return [choice["message"] for choice in choices]


def text_from(content: str | Sequence[Any] | None) -> str:
    """Return the text of a message's content, which some servers send in parts."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content or () if isinstance(part, Mapping)]
    return "".join(part for part in parts if isinstance(part, str))


def call_from(call: Mapping[str, Any], position: int) -> ToolCall:
    """Return a call of a function, or of a custom tool, whose free text stands in `arguments`."""
    index, kind = call.get("index"), call.get("type")
    inner = call.get("function") or call.get("custom")
    inner = inner if isinstance(inner, Mapping) else {}
    said = inner.get("arguments", inner.get("input"))
    return ToolCall(
        name=_string(inner.get("name")),
        arguments=said if isinstance(said, str) else "" if said is None else _encoder.encode(said).decode(),
        id=_string(call.get("id")),
        type=_string(kind) or ("custom" if "custom" in call else "function"),
        index=index if isinstance(index, int) else position,
    )


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
