"""Works out what `echo` answers: text, a tool call or JSON, cut where the request says so, with its tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.builtin.schema_sample import sample
from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Message, Reply, TokenCount, ToolCall, Usage

__all__ = ["count", "count_body", "reply_to"]

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_PER_MESSAGE: Final = 3


class _Answer(NamedTuple):
    text: str
    finish_reason: str
    call: ToolCall | None = None


def reply_to(request: ChatRequest) -> Reply:
    """Return the answer to *request*.

    Raises:
        BadRequest: It is not acceptable.
    """
    try:
        return _reply(request)
    except UnicodeEncodeError:
        problem = "a lone surrogate is no text"
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise _bad(f"the request is not JSON ({problem})", "a body of Chat Completions", "the request")


def _reply(request: ChatRequest) -> Reply:
    answer = _answer(request)
    usage = Usage(input_tokens=int(count(request)), output_tokens=_output_tokens(answer))
    model = request.model or "echo"
    body = _body(request, model, answer, usage)
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
    """Count tokens: every word, number and punctuation mark is one, and every message 3 more.

    Tools and the response format count as the JSON that they are. This is the whole rule, so it is exact.
    """
    if isinstance(content, str):
        return TokenCount(_tokens(content), exact=True)
    if not isinstance(content, ChatRequest):
        return TokenCount(sum(_PER_MESSAGE + _tokens(_text_of(one)) for one in content), exact=True)
    extra = [content.parameters.get(name) for name in ("tools", "response_format")]
    around = sum(_tokens(msgspec.json.encode(one).decode()) for one in extra if one)
    return TokenCount(around + count(content.messages), exact=True)


def count_body(body: Mapping[str, Any]) -> TokenCount:
    """Count a recorded body: of a chat as its request; of anything else, which echo is never sent, the JSON that it is."""
    messages = body.get("messages")
    if isinstance(messages, list) and all(isinstance(each, Mapping) for each in messages):
        parameters = {name: value for name, value in body.items() if name not in {"model", "messages"}}
        return count(ChatRequest(model=str(body.get("model")), messages=messages, parameters=parameters))
    return TokenCount(_tokens(msgspec.json.encode(body, enc_hook=repr).decode()), exact=False)


def _answer(request: ChatRequest) -> _Answer:
    parameters = request.parameters
    said = _said(request.messages)
    function = _demanded(parameters)
    if function is not None:
        arguments = msgspec.json.encode(sample(function.get("parameters") or {"type": "object"}, said))
        name = str(function.get("name", ""))
        call = ToolCall(name=name, arguments=arguments.decode(), id=f"call_{_digest(name, said)}")
        return _Answer("", "tool_calls", call)
    text = _shaped(parameters.get("response_format"), said)
    reason = "stop"
    text = _before_stop(text, parameters.get("stop"))
    limit = _limit(parameters)
    if limit is not None and _tokens(text) > limit:
        ends = [match.end() for match in _TOKEN.finditer(text)]
        text, reason = text[: ends[limit - 1]], "length"
    return _Answer(text, reason)


def _shaped(response_format: Any, said: str) -> str:
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "json_object":
        return msgspec.json.encode({"echo": said}).decode()
    if kind == "json_schema" and isinstance(response_format.get("json_schema"), Mapping):
        return msgspec.json.encode(sample(response_format["json_schema"].get("schema") or {}, said)).decode()
    return f"You said: {said}"


def _said(messages: Sequence[Message]) -> str:
    """Return the text of the last message of the user, or of the last at all where no user spoke."""
    if not messages:
        raise _bad("a chat without messages", "one message or more", "messages")
    last: Message = {}
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise _bad(f"no message: {message!r:.60}", "a dict with `role` and `content`", "messages")
        if message["role"] == "user" or last.get("role") != "user":
            last = message
    return _text_of(last)


def _text_of(message: Message) -> str:
    content = message.get("content")
    if content is None:
        return msgspec.json.encode(message.get("tool_calls", "")).decode() if "tool_calls" in message else ""
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, Mapping)] if isinstance(content, Sequence) else []
    if parts and len(parts) == len(content):
        return " ".join(str(part.get("text") or f"[{part.get('type', 'part')}]") for part in parts)
    raise _bad(f"content of type {type(content).__name__}", "a text, a list of parts, or null", "messages")


def _demanded(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the function that must be called, None where the answer is a text."""
    choice = parameters.get("tool_choice")
    if choice in (None, "auto", "none"):
        return None
    tools = parameters.get("tools") or ()
    functions = [tool["function"] for tool in tools if isinstance(tool, Mapping) and "function" in tool]
    functions = [one for one in functions if isinstance(one, Mapping)]
    if isinstance(choice, Mapping):
        asked = choice.get("function")
        wanted = asked.get("name") if isinstance(asked, Mapping) else choice.get("name")
        functions = [one for one in functions if one.get("name") == wanted]
    if not functions:
        raise _bad("a tool must be called and none fits", "a function of `tools`", "tool_choice")
    return dict(functions[0])


def _limit(parameters: Mapping[str, Any]) -> int | None:
    limit = parameters.get("max_tokens")
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise _bad(f"{limit!r} tokens at most", "a whole number above 0", "max_tokens")
    return limit


def _before_stop(text: str, stop: Any) -> str:
    stops = [stop] if isinstance(stop, str) else stop or ()
    return text[: min((at for one in stops if one and (at := text.find(one)) >= 0), default=len(text))]


def _output_tokens(answer: _Answer) -> int:
    if answer.call is None:
        return _tokens(answer.text)
    return _tokens(answer.call.name) + _tokens(answer.call.arguments)


def _body(request: ChatRequest, model: str, answer: _Answer, usage: Usage) -> dict[str, Any]:
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


def _tokens(text: str) -> int:
    return len(_TOKEN.findall(text))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _bad(message: str, expected: str, where: str) -> BadRequest:
    return BadRequest(f"echo cannot answer: {message}", provider="echo", expected=expected, where=where)
