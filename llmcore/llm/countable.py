"""What `count_tokens` may be given: a text, messages, or a recorded request body of either API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmcore.errors import BadRequest
from llmcore.llm.request import conversation
from llmcore.types import Message

__all__ = ["Countable", "body_of", "countable"]


class Countable(NamedTuple):
    """One thing to count."""

    text: str | None
    """Counted alone, without a message around it."""
    messages: Sequence[Message] | None
    parameters: dict[str, Any]
    model: str | None
    chat: bool
    """Whether it is a request of Chat Completions, whose rules are known."""


def body_of(content: Any, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a recorded request body with the *given* parameters in it; None where *content* is none."""
    if (
        isinstance(content, Mapping)
        and "role" not in content
        and ("messages" in content or "input" in content)
    ):
        return {**content, **given}
    return None


def countable(content: Any, given: Mapping[str, Any]) -> Countable:
    """Return *content* as what can be counted, *given* parameters with it.

    Raises:
        BadRequest: It is none of these.
    """
    if isinstance(content, str) and not given:
        return Countable(content, None, {}, None, chat=True)
    if not isinstance(content, Mapping):
        return Countable(None, conversation(content, None, None), dict(given), None, chat=True)
    if "role" in content:
        return Countable(None, conversation([content], None, None), dict(given), None, chat=True)
    rest = {name: value for name, value in content.items() if name not in {"model", "messages"}}
    if "messages" in content:
        talk = conversation(content["messages"], None, None)
        return Countable(None, talk, {**rest, **given}, content.get("model"), chat=True)
    if "input" in content:
        talk = conversation(content["input"], None, rest.pop("instructions", None))
        rest.pop("input")
        return Countable(None, talk, {**rest, **given}, content.get("model"), chat=False)
    raise BadRequest(
        "this is no request that can be counted",
        code="LC309",
        expected="a text, a list of messages, or a body with `messages` (chat) or `input` (Responses)",
        fix='count_tokens([{"role": "user", "content": "Hello"}])',
    )
