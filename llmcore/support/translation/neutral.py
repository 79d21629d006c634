"""The neutral form of a request, and the error for a field that cannot be translated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec

from llmcore.errors import BadRequest

__all__ = [
    "DocumentPart",
    "Format",
    "Image",
    "NeutralParameter",
    "NeutralRequest",
    "Part",
    "RefusalPart",
    "Text",
    "Thinking",
    "Tool",
    "ToolChoice",
    "ToolResult",
    "ToolUse",
    "Turn",
    "as_list",
    "as_mapping",
    "as_text",
    "check_fields",
    "get_name",
    "refuse",
    "split_data_url",
]  # fmt: skip

_NAMES: Final[Mapping[str, str]] = {
    "chat": "Chat Completions",
    "responses": "the Responses API",
    "messages": "the Messages API",
}
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,", re.ASCII)


class Text(msgspec.Struct, frozen=True):
    """A text."""

    text: str


class Image(msgspec.Struct, frozen=True):
    """An image."""

    url: str
    """An address, or a data URL with base64."""
    detail: str | None = None


class DocumentPart(msgspec.Struct, frozen=True):
    """A document, such as a PDF."""

    url: str | None = None
    """An address, or a data URL with base64."""
    file_id: str | None = None
    """The id of a file that is stored at the vendor."""
    name: str | None = None


class Thinking(msgspec.Struct, frozen=True):
    """The reasoning in an earlier answer, without the vendor's signature."""

    text: str


class RefusalPart(msgspec.Struct, frozen=True):
    """The text of a refusal in an earlier answer."""

    text: str


class ToolUse(msgspec.Struct, frozen=True):
    """A function call in an earlier answer."""

    id: str
    name: str
    arguments: str
    """JSON."""


class ToolResult(msgspec.Struct, frozen=True):
    """The result of a call."""

    id: str
    content: str | tuple[Part, ...]


Part = Text | Image | DocumentPart | Thinking | RefusalPart | ToolUse | ToolResult


class Turn(msgspec.Struct, frozen=True):
    """A message: the consecutive parts of one speaker. Tool results are parts of the user's turn."""

    role: str
    """system, developer, user or assistant."""
    content: str | tuple[Part, ...]
    where: str
    """The place in the request, for errors: `messages[2]`."""


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str | None
    schema: Any
    """The JSON schema of the arguments; None if the request has no schema."""
    strict: bool | None
    where: str


class ToolChoice(msgspec.Struct, frozen=True):
    """The choice of functions: the model may, must or must not call one."""

    kind: str
    """auto, none, required, or function."""
    name: str | None = None


class Format(msgspec.Struct, frozen=True):
    """The format of the answer."""

    kind: str
    """text, json_object or json_schema."""
    schema: Any = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class NeutralParameter(msgspec.Struct, frozen=True):
    """A parameter."""

    value: Any
    where: str
    """The name of the parameter in the request, for errors."""


class NeutralRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the neutral form."""

    source: str
    """The API of the request."""
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] | None = None
    settings: dict[str, NeutralParameter] = {}
    """Neutral name -> parameter. A name that a writer does not list has no counterpart in the writer's API."""


def get_name(api: str) -> str:
    """Return the name of *api* in English, for errors."""
    return _NAMES.get(api, api)


def refuse(where: str, api: str, why: str | None = None) -> NoReturn:
    """Raise the error for the field called *where*: *api* or the neutral form cannot express it."""
    raise BadRequest(
        why or f"`{where}` cannot be translated for {get_name(api)}",
        code="LC308",
        where=where,
        expected=f"a request that {get_name(api)} can express",
        notes=("the model's provider does not speak the API of the request, so the request is translated",),
    )


def check_fields(value: Mapping[str, Any], known: frozenset[str] | set[str], where: str, api: str) -> None:
    """Raise an error for a field of *value* that is not in *known*, unless the field is null."""
    for name, each in value.items():
        if name not in known and each is not None:
            refuse(f"{where}.{name}" if where else name, api)


def as_mapping(value: Any, where: str, api: str) -> Mapping[str, Any]:
    """Return *value*, which must be an object."""
    if not isinstance(value, Mapping):
        refuse(where, api, f"`{where}` must be an object, got {type(value).__name__}")
    return value


def as_list(value: Any, where: str, api: str) -> Sequence[Any]:
    """Return *value*, which must be a list."""
    if not isinstance(value, list | tuple):
        refuse(where, api, f"`{where}` must be a list, got {type(value).__name__}")
    return value


def as_text(value: Any, where: str, api: str) -> str:
    """Return *value*, which must be text."""
    if not isinstance(value, str):
        refuse(where, api, f"`{where}` must be text, got {type(value).__name__}")
    return value


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return the media type and the base64 of a data URL; None for an address."""
    head = _DATA_URL.match(url[:200])
    return None if head is None else (head[1].lower(), url[head.end() :])
