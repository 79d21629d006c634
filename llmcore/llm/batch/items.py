"""The items of a batch: the items that an application passes, and the finished items that it receives."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.errors import BadRequest, LLMCoreError
from llmcore.types import Reply

__all__ = ["BatchItem", "Prepared", "add_model", "make_key", "make_text_body", "prepare"]

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_OWN: Final = frozenset({"id", "prompt"})
"""Fields of an item that are not parameters of the request."""


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """A finished item: it has either a reply or an error."""

    index: int
    """The position of the item in the input, from 0."""
    id: str | None = None
    """The field `id`, or else `custom_id`, of an item that is a dict; None for any other item."""
    reply: Reply[Any] | None = None
    """The answer; None if the item failed."""
    error: LLMCoreError | None = None
    """The reason why the item failed; None if it was answered."""


class Prepared(NamedTuple):
    """An item that was read from the input."""

    position: int
    id: str | None
    body: dict[str, Any] | None
    """The request body: of a chat, or with one text to embed or to speak. None if the item is malformed."""
    error: BadRequest | None = None


def prepare(
    index: int, item: Any, defaults: Mapping[str, Any], system: str | None, api: str = "chat"
) -> Prepared:
    """Return *item* as a request body. A malformed item gets an error and does not stop the run."""
    if isinstance(item, BadRequest):  # a line that could not be read
        return Prepared(index, None, None, item)
    try:
        name = item.get("id", item.get("custom_id")) if isinstance(item, Mapping) else None
        return Prepared(index, None if name is None else str(name), _make_body(item, defaults, system, api))
    except BadRequest as error:
        error.where = error.where or f"item {index}"
        return Prepared(index, None, None, error)


def add_model(parameters: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """Return *parameters* with *model*.

    The model is part of the body, so a run that is resumed with another model sends its requests again.
    """
    return dict(parameters) if model is None else {"model": model, **parameters}


def _make_body(
    item: Any, defaults: Mapping[str, Any], system: str | None = None, api: str = "chat"
) -> dict[str, Any]:
    """Return the request body of *item*.

    Args:
        item: A prompt, a list of messages, a dict with `prompt` or `messages` and parameters, or a line of
            OpenAI's batch files, which has the body in `body`.
        defaults: Parameters for items that do not set them.
        system: The system instructions of items that have none.
        api: "chat" or "embeddings". A line of OpenAI's batch files states the API.

    Raises:
        BadRequest: The item is none of these.
    """
    if api == "embeddings" or _has_input(item):
        return make_text_body(item, defaults, "input")
    given: dict[str, Any]
    if isinstance(item, Mapping):
        inner = item.get("body")
        given = (
            dict(inner)
            if isinstance(inner, Mapping)
            else {name: value for name, value in item.items() if name not in _OWN}
        )
        messages: Any = given.get("messages", item.get("prompt"))
    else:
        given, messages = {}, item
    if isinstance(messages, str):
        if not messages.strip():
            raise BadRequest("the prompt is empty", code="LC303", expected="a text that is not empty")
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence) or not messages:
        raise BadRequest(
            f"an item must be a prompt, messages or a dict, got {type(item).__name__}",
            code="LC303",
            expected='a text, a list of messages, or a dict with "prompt" or "messages"',
        )
    messages = list(messages)
    if system is not None and not any(
        isinstance(message, Mapping) and message.get("role") in {"system", "developer"}
        for message in messages
    ):
        messages.insert(0, {"role": "system", "content": system})
    return {**defaults, **given, "messages": messages}


def make_text_body(item: Any, defaults: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return the request body of an item that is one text, with the text in the field *field*.

    Raises:
        BadRequest: The item has no text.
    """
    given: dict[str, Any] = {}
    text = item
    if isinstance(item, Mapping):
        inner = item.get("body")
        source = inner if isinstance(inner, Mapping) else item
        given = {name: value for name, value in source.items() if name not in {*_OWN, field}}
        text = source.get(field, item.get("prompt"))
    if not isinstance(text, str) or not text.strip():
        raise BadRequest(
            f"an item must be a text, got {type(text).__name__ if not isinstance(text, str) else 'an empty one'}",
            code="LC303",
            expected='a text that is not empty, or a dict with "prompt"',
        )
    return {**defaults, **given, field: text}


def _has_input(item: Any) -> bool:
    body = item.get("body") if isinstance(item, Mapping) else None
    return isinstance(body, Mapping) and "input" in body and "messages" not in body


def make_key(body: Mapping[str, Any]) -> bytes:
    """Return a key that is equal for equal requests. Requests with equal keys are sent once.

    Raises:
        BadRequest: A value of the body is not JSON.
    """
    try:
        return hashlib.sha256(_encode(body)).digest()
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    raise BadRequest(
        f"the item is not JSON: {reason}", code="LC308", expected="texts, numbers, lists and dicts"
    )
