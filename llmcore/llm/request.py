"""From what an application writes to one checked request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from llmcore.calls.texts import half
from llmcore.errors import BadRequest
from llmcore.hookspecs import Provider
from llmcore.types import Message
from llmcore.units import Duration, is_part

__all__ = [
    "CacheUse",
    "Prompt",
    "cache_use",
    "checked_parameters",
    "conversation",
    "frozen",
    "part",
    "seconds",
]

CacheUse = bool | Literal["refresh"]
Prompt = str | Sequence[Message] | Sequence[Mapping[str, Any]] | None

_ATOMS: Final = frozenset({bool, float, int, str})
ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")


def conversation(
    prompt: Prompt, messages: Sequence[Mapping[str, Any]] | None, system: str | None
) -> list[Message]:
    """Return the messages that *prompt*, *messages* and *system* make together, in that order of speaking.

    Raises:
        BadRequest: There is nothing to say, or a message is malformed; nothing was sent.
    """
    talk: list[Any] = []
    if system is not None:
        talk.append({"role": "system", "content": _text(system, "system")})
    if messages is not None:
        talk.extend(frozen(_listed(messages)))
    if isinstance(prompt, str):
        talk.append({"role": "user", "content": _text(prompt, "prompt")})
    elif prompt is not None:
        talk.extend(frozen(_listed(prompt)))
    if len(talk) == (system is not None):
        raise BadRequest(
            "there is no message to answer",
            code="LC303",
            expected="a text, or a list of messages",
            fix='chat("Write a haiku about rain")',
        )
    return talk


def checked_parameters(given: Mapping[str, Any], entry: Provider) -> dict[str, Any]:
    """Return *given* less what is None.

    Raises:
        BadRequest: One is not declared by the provider; nothing was sent.
    """
    if not entry.parameters.issuperset(given):
        name = min(given.keys() - entry.parameters)
        near = _nearest(name, entry.parameters)
        raise BadRequest(
            f"unknown parameter `{name}` for the llm provider `{entry.name}`",
            provider=entry.name,
            code="LC302",
            expected=", ".join(sorted(entry.parameters)) or "no parameters at all",
            suggestion=near[0] if near else None,
            fix=f"chat(..., {near[0]}={given[name]!r})" if near else f"chat(...) without {name}=",
        )
    return {
        name: value if type(value) in _ATOMS else frozen(value)
        for name, value in given.items()
        if value is not None
    }


def frozen(value: Any) -> Any:
    """Return *value* with its dicts and lists copied: what is sent is what the key was made of, whatever happens since."""
    if isinstance(value, dict):
        return {name: frozen(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(item) for item in value]
    return value


def cache_use(asked: object) -> CacheUse:
    """Return *asked*, which is True, False or "refresh", or raise `BadRequest`."""
    if asked is True or asked is False or asked == "refresh":
        return "refresh" if asked == "refresh" else bool(asked)
    raise BadRequest(
        f"cache={asked!r} says nothing",
        code="LC308",
        expected='True, False or "refresh"',
        fix='cache="refresh"',
    )


def seconds(value: object, name: str) -> float:
    """Return the time that the argument *name* says, or raise `BadRequest`."""
    allowed = 0.0
    with contextlib.suppress(ValueError):
        allowed = Duration.parse(value)
    if allowed:
        return allowed
    raise BadRequest(
        f"{name}={value!r} leaves no time",
        code="LC308",
        expected=f"above zero: {Duration.expected}",
        fix=f"{name}=30",
    )


def part(value: object, ttl: float | None, name: str) -> float:
    """Return the part of *ttl* that the argument *name* says, or raise `BadRequest`."""
    if not is_part(value):
        raise BadRequest(
            f"{name}={value!r} is no part of a time",
            code="LC308",
            expected="between 0 and 1",
            fix=f"{name}=0.8",
        )
    if ttl is None:
        raise BadRequest(
            f"{name}= needs a time to live, of which it is a part",
            code="LC308",
            expected="a ttl of the cache, or cache_ttl=",
            fix=f'{name}={value}, cache_ttl="1h"',
        )
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(
            f"the {what} is not a text: {type(value).__name__}",
            code="LC303",
            expected="str",
            fix=f"str({what})",
        )
    if not value.strip():
        raise BadRequest(f"the {what} is empty", code="LC303", expected="a text with at least one letter")
    if not value.isascii():
        _encodable(value, what)
    return value


def _encodable(value: str, what: str) -> None:
    at = half(value)
    if at is not None:
        raise BadRequest(
            f"the {what} holds half a character: a lone surrogate U+{ord(value[at]):04X} at position {at}",
            code="LC303",
            expected="text that can be encoded as UTF-8",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )


def _listed(messages: object) -> Iterable[Any]:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise BadRequest(
            f"messages are not a list: {type(messages).__name__}",
            code="LC304",
            expected='[{"role": "user", "content": "Hello"}]',
            fix="put the message into a list: [message]" if isinstance(messages, Mapping) else None,
        )
    listed = list(messages)
    for position, message in enumerate(listed):
        fault = _fault(message)
        if fault:
            raise BadRequest(
                f"message {position} is malformed: {fault[0]}",
                code="LC304",
                where=f"messages[{position}]",
                expected=fault[1],
                suggestion=fault[2],
            )
    return listed


def _fault(message: object) -> tuple[str, str, str | None] | None:
    """Return what is wrong, what was expected and the nearest name; None for a good message."""
    shape = 'a dict such as {"role": "user", "content": "Hello"}'
    if not isinstance(message, Mapping):
        return f"it is a {type(message).__name__}", shape, None
    role = message.get("role")
    if role not in ROLES:
        near = _nearest(str(role), ROLES)
        said = f"there is no role `{role}`" if "role" in message else "it has no role"
        return said, ", ".join(ROLES), near[0] if near else None
    return _content_fault(role, message.get("content"))


def _content_fault(role: str, content: object) -> tuple[str, str, str | None] | None:
    if isinstance(content, str):
        if not content.isascii():
            _encodable(content, "content of a message")
        if content or role != "user":
            return None
        return "its content is empty", "a text with at least one letter", None
    if content is None:
        if role in {"assistant", "function"}:  # beside tool calls
            return None
        return "it has no content", 'a dict such as {"role": "user", "content": "Hello"}', None
    if isinstance(content, Sequence) and all(
        isinstance(part, Mapping) and "type" in part for part in content
    ):
        return None if content else ("its content is empty", "at least one part", None)
    expected = 'a text, or parts such as [{"type": "text", "text": "Hello"}]'
    return f"its content is a {type(content).__name__}", expected, None


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # only for a fault: it costs more than a cached answer

    return get_close_matches(name, list(known), n=1, cutoff=0.6)
