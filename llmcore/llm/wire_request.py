"""Read a request body in a vendor's format: the argument of `send` and `send_stream`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmcore.calls.json_values import normalise
from llmcore.calls.texts import check_text
from llmcore.errors import BadRequest
from llmcore.hookspecs import Provider
from llmcore.llm.request import build_messages
from llmcore.types import Message

__all__ = ["WireRequest", "check_api", "check_arguments", "check_spoken", "read_body"]

_APIS: Final = ("chat", "responses", "messages", "embeddings")
_NOT_PARAMETERS: Final = frozenset({"messages", "model", "stream"})
"""Fields that are not parameters of the request: two become something else, and the method decides whether to stream."""
_INPUTS: Final[Mapping[str, tuple[str, str]]] = {
    "chat": ("messages", 'send({"model": "NAME", "messages": [{"role": "user", "content": "Hello"}]})'),
    "responses": ("input", 'send({"model": "NAME", "input": "Hello"}, api="responses")'),
}
"""For each API, the field of the conversation, and a call that works."""
_OF_STREAMS: Final = "stream_options"
"""Servers refuse it in a request that is not streamed."""


class WireRequest(NamedTuple):
    """A request body, checked and copied."""

    model: str | None
    messages: list[Message]
    """Empty for another API than "chat": there they are among the parameters."""
    parameters: dict[str, Any]
    """The other fields, without those that are null, as in `chat`."""


def check_api(api: object) -> None:
    """Raise `BadRequest` if *api* is not one that `send` can send."""
    if api in {"chat", "responses"}:
        return
    known = isinstance(api, str) and api in _APIS
    names = ", ".join(f'"{name}"' for name in _APIS)
    raise BadRequest(
        f"api={api!r} is not supported yet" if known else f"api must be one of {names}, got {api!r}",
        code="LC308",
        where="api",
        expected='"chat" or "responses"',
        fix='send(body, api="chat")',
    )


def check_spoken(api: str, entry: Provider) -> None:
    """Raise `BadRequest` if the provider *entry* does not declare *api*."""
    if api not in entry.apis:
        raise BadRequest(
            f"the llm provider `{entry.name}` does not speak the API `{api}`",
            provider=entry.name,
            code="LC308",
            where="api",
            expected=" or ".join(f'"{name}"' for name in sorted(entry.apis)),
        )


def check_arguments(options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise `BadRequest` for an argument of `send` that is not one of *known*."""
    if known.issuperset(options):
        return
    from difflib import get_close_matches  # only for an error: it costs more than a cached answer

    name = min(options.keys() - known)
    near = get_close_matches(name, known, n=1)
    raise BadRequest(
        f"send has no argument `{name}`",
        code="LC308",
        where=name,
        expected=", ".join(sorted(known)),
        suggestion=near[0] if near else None,
        notes=() if near else ("parameters of the model belong into the body",),
        fix=f"send(body, {near[0]}=...)" if near else f'send({{**body, "{name}": ...}})',
    )


def read_body(body: object, *, api: str, streaming: bool) -> WireRequest:
    """Return *body*, a request of *api*, checked and copied.

    Raises:
        BadRequest: It is not a dict of JSON values, or its messages are malformed.
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
    messages = build_messages(None, body[name], None) if api == "chat" else []
    model = body.get("model")
    rest = {each: value for each, value in body.items() if value is not None and each not in _NOT_PARAMETERS}
    if not streaming:
        rest.pop(_OF_STREAMS, None)
    parameters: dict[str, Any] = normalise(rest, "body")
    return WireRequest(None if model is None else check_text(model, "body.model"), messages, parameters)
