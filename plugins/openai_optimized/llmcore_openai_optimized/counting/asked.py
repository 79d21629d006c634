"""A request as the server reads it: one shape for the bodies of Chat Completions and of Responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

__all__ = [
    "Asked",
    "Call",
    "Called",
    "Item",
    "Picture",
    "Result",
    "Said",
    "arguments_of",
    "ascii_json",
    "json_text",
    "mappings",
    "named",
    "retold",
    "text_of",
]


class Picture(NamedTuple):
    """An image in a message."""

    url: str
    detail: str


class Said(NamedTuple):
    """A message of somebody."""

    role: str
    text: str
    pictures: tuple[Picture, ...] = ()
    name: str = ""


class Call(NamedTuple):
    """A call of a tool."""

    name: str
    arguments: str
    """As they were written."""
    returned: bool = False
    """Whether it is an item of an answer, given back with its `id`."""


class Called(NamedTuple):
    """Calls that the model made in one turn."""

    calls: list[Call]
    name: str = ""


class Result(NamedTuple):
    """What a tool answered."""

    name: str
    text: str
    pictures: tuple[Picture, ...] = ()


Item = Said | Called | Result


class Asked(msgspec.Struct, kw_only=True):
    """A request taken apart. What is not understood is told in `doubts` or, where nothing bounds it, `boundless`."""

    model: str | None
    responses: bool
    """Whether it is a body of Responses, not of Chat Completions."""
    items: list[Item] = []
    functions: list[Mapping[str, Any]] = []
    item_comments: bool = True
    """Whether descriptions of a list's items are told."""
    schema: Mapping[str, Any] | None = None
    """What the answer must be: `name`, `schema`, `description`."""
    choice: Any = None
    """`tool_choice`, or `function_call` of old."""
    doubts: set[str] = set()
    """What makes the sum an estimate."""
    boundless: set[str] = set()
    """What the server fetches, or knows already: of any length."""
    hidden: int = 0
    """Characters of encrypted reasoning, which bound its tokens."""
    loose: list[str] = []
    """Texts that are rendered nobody knows how; their lengths bound their tokens."""


def named(function: Mapping[str, Any]) -> str:
    """Return the name in *function*, or nothing."""
    return text_of(function, "name")


def json_text(value: Any) -> str:
    """Return *value* as compact JSON, in the order in which it is."""
    try:
        return msgspec.json.encode(value, enc_hook=repr).decode()
    except (UnicodeEncodeError, TypeError, ValueError, msgspec.MsgspecError):  # half characters, odd keys
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr, skipkeys=True)


def text_of(of: Mapping[str, Any], key: str) -> str:
    """Return the text under *key*; nothing where there is none, or something else."""
    value = of.get(key)
    return value if isinstance(value, str) else ""


def ascii_json(value: Any) -> str:
    """Return *value* as compact JSON with every other character escaped."""
    import json  # here: plain messages need none

    return json.dumps(value, separators=(",", ":"), default=repr, skipkeys=True)


def arguments_of(call: Mapping[str, Any]) -> str:
    """Return the arguments of a call as they were written."""
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json_text(arguments)


def retold(arguments: str) -> str:
    """Return the arguments of a call as the server writes them again: compact JSON, where it is JSON at all."""
    try:
        return json_text(msgspec.json.decode(arguments))
    except (ValueError, RecursionError):
        return arguments


def mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    """Yield the objects of a list; nothing where it is none."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from (one for one in value if isinstance(one, Mapping))
