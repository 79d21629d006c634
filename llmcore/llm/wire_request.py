"""Read a request body in a vendor's format: the argument of `send` and `send_stream`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmcore.calls.json_values import normalise
from llmcore.calls.text_arguments import check_text
from llmcore.errors import BadRequest
from llmcore.llm.models import Target
from llmcore.llm.request import build_messages
from llmcore.types import ChatRequest, Message

__all__ = ["WireRequest", "check_api", "check_arguments", "make_request", "read_body"]

_APIS: Final = ("chat", "responses", "messages", "embeddings")
_CHATS: Final = ("chat", "responses", "messages")
"""The APIs to which a request is translated, in order of preference.

Chat Completions comes first, because such a request shares its cache entry with `chat`.
"""
_NOT_PARAMETERS: Final = frozenset({"model", "stream"})
"""Fields of a body that are not parameters of the model.

`model` is passed separately, and the called method decides about `stream`.
"""
_NEW_LIMIT, _LIMIT = "max_completion_tokens", "max_tokens"
"""The two names of the parameter that limits the length of an answer.

The second name is older, and some servers know only this name.
"""
_INPUTS: Final[Mapping[str, tuple[str, str]]] = {
    "chat": ("messages", 'send({"model": "NAME", "messages": [{"role": "user", "content": "Hello"}]})'),
    "responses": ("input", 'send({"model": "NAME", "input": "Hello"}, api="responses")'),
    "messages": (
        "messages",
        'send({"model": "NAME", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]}, api="messages")',
    ),
    "embeddings": ("input", 'send({"model": "NAME", "input": ["Hello"]}, api="embeddings")'),
}
"""For each API: the field that contains the conversation, and an example of a valid call."""
_OF_STREAMS: Final = "stream_options"
"""A parameter that servers refuse in a request that is not streamed."""


class WireRequest(NamedTuple):
    """A request body, checked and copied."""

    model: str | None
    messages: list[Message]
    """The conversation. Empty for every API except "chat": in other APIs the messages are parameters."""
    parameters: dict[str, Any]
    """All other fields, without fields that are null."""


def check_api(api: object, *, streaming: bool) -> None:
    """Raise `BadRequest` if `send` or `send_stream` cannot send requests of *api*."""
    known = _APIS[:-1] if streaming else _APIS
    if isinstance(api, str) and api in known:
        return
    names = ", ".join(f'"{name}"' for name in known)
    is_embeddings = api == _APIS[-1]
    raise BadRequest(
        "embeddings are not streamed" if is_embeddings else f"api must be one of {names}, got {api!r}",
        code="LC308",
        where="api",
        expected=names,
        fix='send(body, api="embeddings")' if is_embeddings else 'send(body, api="chat")',
    )


def make_request(
    wire: WireRequest, api: str, target: Target, extra: Mapping[str, Any] | None = None
) -> ChatRequest:
    """Return the request for *target*. Translate it if the provider does not accept *api*.

    Args:
        wire: The request.
        api: The API of the request.
        target: The model.
        extra: The call's `extra_body`, which is added after the translation.

    Raises:
        BadRequest: A field has no counterpart in the APIs that the provider accepts; `where` names the field.
    """
    accepted = target.backend.apis
    spoken = api if api in accepted else next((each for each in _CHATS if each in accepted), api)
    messages, parameters = wire.messages, wire.parameters
    if spoken != api:
        messages, parameters = _translate(wire, api, spoken, target)
    return ChatRequest(
        model=target.model,
        messages=messages,
        parameters=target.merge_parameters(parameters, extra),
        api=spoken,
    )


def _translate(
    wire: WireRequest, api: str, spoken: str, target: Target
) -> tuple[list[Message], dict[str, Any]]:
    """Return the messages and the parameters of *wire*, a request of *api*, in the API *spoken*."""
    # imported here, because most requests need no translation
    from llmcore.support.translation import translate_body

    body = {"messages": wire.messages, **wire.parameters} if api == "chat" else wire.parameters
    try:
        parameters = translate_body(body, api, spoken)
    except BadRequest as error:
        error.provider = target.backend.name
        raise
    if spoken != "chat":
        return [], parameters
    names = target.backend.entry.parameters
    if _NEW_LIMIT in parameters and _NEW_LIMIT not in names and _LIMIT in names:
        parameters[_LIMIT] = parameters.pop(_NEW_LIMIT)
    return parameters.pop("messages"), parameters


def check_arguments(options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise `BadRequest` for the first argument of `send` that is not in *known*."""
    if known.issuperset(options):
        return
    # imported only for an error, because the import takes longer than a chat that the cache answers
    from difflib import get_close_matches

    name = min(options.keys() - known)
    near = get_close_matches(name, known, n=1)
    raise BadRequest(
        f"send has no argument `{name}`",
        code="LC308",
        where=name,
        expected=", ".join(sorted(known)),
        suggestion=near[0] if near else None,
        notes=() if near else ("parameters of the model belong in the body",),
        fix=f"send(body, {near[0]}=...)" if near else f'send({{**body, "{name}": ...}})',
    )


def read_body(body: object, *, api: str, streaming: bool) -> WireRequest:
    """Return *body*, a request of *api*, checked and copied.

    Raises:
        BadRequest: *body* is not a dict of JSON values, or its messages are malformed.
    """
    name, example = _INPUTS[api]
    if not isinstance(body, Mapping):
        raise BadRequest(
            f"body must be a dict, got {type(body).__name__}",
            code="LC308",
            where="body",
            expected="a request body in the format of `api`",
            fix=example,
        )
    if body.get(name) is None and not (name == "input" and body.get("prompt")):
        raise BadRequest(
            f"body has no `{name}`",
            code="LC303",
            where="body",
            expected=f'a body of the API "{api}", which has "{name}"',
            fix=example,
        )
    is_chat = api == "chat"
    messages = build_messages(None, body[name], None) if is_chat else []
    model = body.get("model")
    rest = {each: value for each, value in body.items() if value is not None and each not in _NOT_PARAMETERS}
    if is_chat:
        del rest["messages"]
    if not streaming:
        rest.pop(_OF_STREAMS, None)
    parameters: dict[str, Any] = normalise(rest, "body")
    return WireRequest(None if model is None else check_text(model, "body.model"), messages, parameters)
