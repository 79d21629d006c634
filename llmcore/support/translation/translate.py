"""Translate the body of a request from one API to another, through the neutral form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcore.support.translation.chat import read_chat, write_chat
from llmcore.support.translation.messages import read_messages, write_messages
from llmcore.support.translation.neutral import NeutralRequest
from llmcore.support.translation.responses import read_responses, write_responses

__all__ = ["translate_body"]

_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], NeutralRequest]]] = {
    "chat": read_chat,
    "responses": read_responses,
    "messages": read_messages,
}
_WRITERS: Final[Mapping[str, Callable[[NeutralRequest], dict[str, Any]]]] = {
    "chat": write_chat,
    "responses": write_responses,
    "messages": write_messages,
}


def translate_body(body: Mapping[str, Any], source: str, target: str) -> dict[str, Any]:
    """Return *body*, a request of the API *source*, as a request of *target*.

    Args:
        body: The fields of the request. `model` and `stream` are left out of the result.
        source: "chat", "responses" or "messages".
        target: Another of these three.

    Raises:
        BadRequest: A field has no counterpart, or is malformed. `where` names the field.
    """
    fields = {
        name: value for name, value in body.items() if value is not None and name not in {"model", "stream"}
    }
    return _WRITERS[target](_READERS[source](fields, target))
