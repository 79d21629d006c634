"""A parsed request: one structure for the bodies of Chat Completions and Responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "Call",
    "CallsItem",
    "Item",
    "MessageItem",
    "ParsedRequest",
    "Picture",
    "ResultItem",
    "encode_ascii_json",
    "encode_json",
    "get_arguments",
    "get_name",
    "get_text",
    "iterate_mappings",
    "normalise_arguments",
]


class Picture(NamedTuple):
    """An image in a message."""

    url: str
    detail: str


class MessageItem(NamedTuple):
    """A message."""

    role: str
    text: str
    pictures: tuple[Picture, ...] = ()
    name: str = ""


class Call(NamedTuple):
    """A tool call."""

    name: str
    arguments: str
    """The arguments as received, usually JSON."""
    returned: bool = False
    """True if the call was sent back as an item of an earlier answer, with the `id` of the item."""


class CallsItem(NamedTuple):
    """The tool calls of one turn."""

    calls: list[Call]
    name: str = ""


class ResultItem(NamedTuple):
    """The result of a tool."""

    name: str
    text: str
    pictures: tuple[Picture, ...] = ()


Item = MessageItem | CallsItem | ResultItem


class ParsedRequest:
    """A parsed request.

    Unknown parts are listed in `doubts`, or in `boundless` if their tokens have no upper bound.
    """

    __slots__ = (
        "boundless",
        "choice",
        "doubts",
        "functions",
        "hidden",
        "item_comments",
        "items",
        "model",
        "responses",
        "schema",
        "unparsed",
    )  # fmt: skip

    def __init__(self, *, model: str | None, responses: bool) -> None:
        """Make an empty request.

        Args:
            model: The name of the model.
            responses: True for a body of the Responses API; False for a body of Chat Completions.
        """
        self.model = model
        self.responses = responses
        self.items: list[Item] = []
        self.functions: list[Mapping[str, Any]] = []
        self.item_comments = True
        """True if descriptions of list items are in the prompt."""
        self.schema: Mapping[str, Any] | None = None
        """The schema of the answer: `name`, `schema`, `description`."""
        self.choice: Any = None
        """`tool_choice`, or the deprecated `function_call`."""
        self.doubts: set[str] = set()
        """Reasons why the count is an estimate."""
        self.boundless: set[str] = set()
        """Parts whose tokens have no upper bound, because the server fetches or stores the content."""
        self.hidden = 0
        """The number of characters of encrypted reasoning, which is an upper bound of the tokens of the reasoning."""
        self.unparsed: list[str] = []
        """Texts that the server renders in an unknown way. The bytes of each text are an upper bound of its tokens."""


def get_name(function: Mapping[str, Any]) -> str:
    """Return the name in *function*, or an empty text."""
    return get_text(function, "name")


def encode_json(value: Any) -> str:
    """Return *value* as compact JSON; keep the order of keys."""
    import msgspec  # imported here, because plain messages need no JSON and a first count should be fast

    try:
        return msgspec.json.encode(value, enc_hook=repr).decode()
    except (
        UnicodeEncodeError,
        TypeError,
        ValueError,
        msgspec.MsgspecError,
    ):  # lone surrogates, keys that are not text
        import json

        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=repr, skipkeys=True)


def get_text(of: Mapping[str, Any], key: str) -> str:
    """Return the text under *key*; an empty text if the key is missing."""
    value = of.get(key)
    return value if isinstance(value, str) else ""


def encode_ascii_json(value: Any) -> str:
    """Return *value* as compact JSON in ASCII."""
    import json  # imported here, because plain messages need no JSON

    return json.dumps(value, separators=(",", ":"), default=repr, skipkeys=True)


def get_arguments(call: Mapping[str, Any]) -> str:
    """Return the arguments of a call as text."""
    arguments = call.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else encode_json(arguments)


def normalise_arguments(arguments: str) -> str:
    """Return the arguments as the server rewrites them: compact JSON, or unchanged text if they are not JSON."""
    import msgspec  # imported here for the same reason as in `encode_json`

    try:
        return encode_json(msgspec.json.decode(arguments))
    except (ValueError, RecursionError):
        return arguments


def iterate_mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    """Yield the objects of a list; yield nothing if *value* is not a list."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield from (one for one in value if isinstance(one, Mapping))
