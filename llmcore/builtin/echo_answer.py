"""Compute the answer of `echo` (text, a tool call or JSON, cut by `max_tokens` and `stop`) and its tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.builtin.schema_sample import sample
from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Message, Reply, TokenCount, ToolCall, Usage

__all__ = ["count", "count_body", "make_reply"]

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_PER_MESSAGE: Final = 3


class _Answer(NamedTuple):
    text: str
    finish_reason: str
    call: ToolCall | None = None


def make_reply(request: ChatRequest) -> Reply:
    """Return the answer to *request*.

    Raises:
        BadRequest: The request is not acceptable.
    """
    try:
        return _make_reply(request)
    except UnicodeEncodeError:
        problem = "it contains a lone surrogate"
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise _make_bad_request(
        f"the request must be JSON: {problem}", "a body of Chat Completions", "the request"
    )


def _make_reply(request: ChatRequest) -> Reply:
    answer = _make_answer(request)
    usage = Usage(input_tokens=int(count(request)), output_tokens=_count_output_tokens(answer))
    model = request.model or "echo"
    body = _make_body(request, model, answer, usage)
    return Reply(
        text=answer.text,
        model=model,
        provider="echo",
        finish_reason=answer.finish_reason,
        usage=usage,
        tool_calls=(answer.call,) if answer.call else (),
        request_id=body["id"],
        body=msgspec.json.encode(body),
    )


def count(content: str | Sequence[Message] | ChatRequest) -> TokenCount:
    """Count tokens: one for each word, number and punctuation mark, and 3 more for each message.

    Tools and the response format are counted as JSON text. The count is exact.
    """
    if isinstance(content, str):
        return TokenCount(_count_tokens(content), exact=True)
    if not isinstance(content, ChatRequest):
        return TokenCount(sum(_PER_MESSAGE + _count_tokens(_get_text(one)) for one in content), exact=True)
    extra = [content.parameters.get(name) for name in ("tools", "response_format")]
    around = sum(_count_tokens(msgspec.json.encode(one).decode()) for one in extra if one)
    return TokenCount(around + count(content.messages), exact=True)


def count_body(body: Mapping[str, Any]) -> TokenCount:
    """Count a recorded body: a chat is counted like its request; any other body is counted as JSON text."""
    messages = body.get("messages")
    if isinstance(messages, list) and all(isinstance(each, Mapping) for each in messages):
        parameters = {name: value for name, value in body.items() if name not in {"model", "messages"}}
        return count(ChatRequest(model=str(body.get("model")), messages=messages, parameters=parameters))
    return TokenCount(_count_tokens(msgspec.json.encode(body, enc_hook=repr).decode()), exact=False)


def _make_answer(request: ChatRequest) -> _Answer:
    parameters = request.parameters
    message = _get_user_text(request.messages)
    function = _find_required_function(parameters)
    if function is not None:
        arguments = msgspec.json.encode(sample(function.get("parameters") or {"type": "object"}, message))
        name = str(function.get("name", ""))
        call = ToolCall(name=name, arguments=arguments.decode(), id=f"call_{_digest(name, message)}")
        return _Answer("", "tool_calls", call)
    text = _format_text(parameters.get("response_format"), message)
    reason = "stop"
    text = _cut_at_stop(text, parameters.get("stop"))
    limit = _get_limit(parameters)
    if limit is not None and _count_tokens(text) > limit:
        ends = [match.end() for match in _TOKEN.finditer(text)]
        text, reason = text[: ends[limit - 1]], "length"
    return _Answer(text, reason)


def _format_text(response_format: Any, text: str) -> str:
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "json_object":
        return msgspec.json.encode({"echo": text}).decode()
    if kind == "json_schema" and isinstance(response_format.get("json_schema"), Mapping):
        return msgspec.json.encode(sample(response_format["json_schema"].get("schema") or {}, text)).decode()
    return f"You said: {text}"


def _get_user_text(messages: Sequence[Message]) -> str:
    """Return the text of the last user message; without a user message, return the text of the last message."""
    if not messages:
        raise _make_bad_request("messages must not be empty", "one message or more", "messages")
    last = messages[-1]
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise _make_bad_request(
                f"a message must be a dict with `role`, got {message!r:.60}",
                "a dict with `role` and `content`",
                "messages",
            )
        if message["role"] == "user" or last.get("role") != "user":
            last = message
    return _get_text(last)


def _get_text(message: Message) -> str:
    content = message.get("content")
    if content is None:
        return msgspec.json.encode(message.get("tool_calls", "")).decode() if "tool_calls" in message else ""
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, Sequence) else []
    if parts and len(parts) == len(content):
        return " ".join(str(part.get("text") or f"[{part.get('type', 'part')}]") for part in parts)
    raise _make_bad_request(
        f"content must be text, a list of parts or null, got {type(content).__name__}",
        "a text, a list of parts, or null",
        "messages",
    )


def _find_required_function(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the function that must be called; None if the answer is a text."""
    choice = parameters.get("tool_choice")
    if choice in (None, "auto", "none"):
        return None
    tools = parameters.get("tools") or ()
    functions = [tool["function"] for tool in tools if isinstance(tool, Mapping) and "function" in tool]
    functions = [one for one in functions if isinstance(one, Mapping)]
    if isinstance(choice, Mapping):
        choice_function = choice.get("function")
        wanted = choice_function.get("name") if isinstance(choice_function, Mapping) else choice.get("name")
        functions = [one for one in functions if one.get("name") == wanted]
    if not functions:
        raise _make_bad_request(
            "tool_choice requires a call, and no tool matches", "a function of `tools`", "tool_choice"
        )
    return dict(functions[0])


def _get_limit(parameters: Mapping[str, Any]) -> int | None:
    limit = parameters.get("max_tokens")
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise _make_bad_request(
            f"max_tokens must be a positive integer, got {limit!r}", "a whole number above 0", "max_tokens"
        )
    return limit


def _cut_at_stop(text: str, stop: Any) -> str:
    stops = [stop] if isinstance(stop, str) else stop or ()
    return text[: min((at for one in stops if one and (at := text.find(one)) >= 0), default=len(text))]


def _count_output_tokens(answer: _Answer) -> int:
    if answer.call is None:
        return _count_tokens(answer.text)
    return _count_tokens(answer.call.name) + _count_tokens(answer.call.arguments)


def _make_body(request: ChatRequest, model: str, answer: _Answer, usage: Usage) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or None if answer.call else answer.text,
    }
    if answer.call is not None:
        function = {"name": answer.call.name, "arguments": answer.call.arguments}
        message["tool_calls"] = [{"id": answer.call.id, "type": "function", "function": function}]
    return {
        "id": f"chatcmpl-{_digest(model, repr(request.messages), repr(request.parameters))}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        ],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


def _count_tokens(text: str) -> int:
    return len(_TOKEN.findall(text))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _make_bad_request(message: str, expected: str, where: str) -> BadRequest:
    return BadRequest(message, provider="echo", expected=expected, where=where)
