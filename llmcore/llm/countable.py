"""Read the argument of `count_tokens`: a text, one or several messages, or a request body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from llmcore.errors import BadRequest
from llmcore.llm.request import build_messages
from llmcore.types import Message

__all__ = ["Countable", "find_body", "make_countable"]


class Countable(NamedTuple):
    """Content whose tokens can be counted."""

    text: str | None
    """A text that is counted without the tokens of a message around it. None if the content is a list of messages."""
    messages: Sequence[Message] | None
    parameters: dict[str, Any]
    model: str | None
    chat: bool
    """True for a request of Chat Completions. The rules of counting are known only for these requests."""


def find_body(content: Any, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return *content* updated with the *given* parameters if *content* is a request body; otherwise None.

    A request body has `messages` (Chat Completions) or `input` (Responses), and no `role`.
    """
    if (
        isinstance(content, Mapping)
        and "role" not in content
        and ("messages" in content or "input" in content)
    ):
        return {**content, **given}
    return None


def make_countable(content: Any, given: Mapping[str, Any]) -> Countable:
    """Return *content* and the *given* parameters as a `Countable`.

    Raises:
        BadRequest: *content* is not a text, a message, a list of messages or a request body.
    """
    if isinstance(content, str) and not given:
        return Countable(content, None, {}, None, chat=True)
    if not isinstance(content, Mapping):
        return Countable(None, build_messages(content, None, None), dict(given), None, chat=True)
    if "role" in content:
        return Countable(
            None, build_messages([cast("Message", content)], None, None), dict(given), None, chat=True
        )
    rest = {name: value for name, value in content.items() if name not in {"model", "messages"}}
    if "messages" in content:
        talk = build_messages(content["messages"], None, None)
        return Countable(None, talk, {**rest, **given}, content.get("model"), chat=True)
    if "input" in content:
        talk = build_messages(content["input"], None, rest.pop("instructions", None))
        rest.pop("input")
        return Countable(None, talk, {**rest, **given}, content.get("model"), chat=False)
    raise BadRequest(
        "content must be a text, messages or a request body, got a dict without `messages` and `input`",
        code="LC309",
        expected="a text, a list of messages, or a body with `messages` (chat) or `input` (Responses)",
        fix='count_tokens([{"role": "user", "content": "Hello"}])',
    )
