"""Texts that an application gives beside what it asks: refused at the door where nobody could write or send them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.errors import BadRequest

__all__ = ["half", "labelled", "of_texts", "text", "who"]


def half(value: str) -> int | None:
    """Return where *value* holds half a character, a lone surrogate that UTF-8 cannot hold; else None."""
    if value.isascii():
        return None
    return next((at for at, letter in enumerate(value) if "\ud800" <= letter <= "\udfff"), None)


def text(value: object, name: str) -> str:
    """Return the argument *name*, which is a text, or raise `BadRequest`."""
    if not isinstance(value, str):
        raise BadRequest(
            f"{name}= is a {type(value).__name__}, not a text", code="LC308", expected=f'{name}="..."'
        )
    at = half(value)
    if at is not None:
        raise BadRequest(
            f"{name}= holds half a character: a lone surrogate U+{ord(value[at]):04X} at position {at}",
            code="LC308",
            expected="text that can be encoded as UTF-8",
        )
    return value


def who(user: object) -> str | None:
    """Return `user=`, or raise `BadRequest`."""
    return None if user is None else text(user, "user")


def labelled(tags: object) -> tuple[str, ...]:
    """Return `tags=`, one text or several, or raise `BadRequest`."""
    if tags is None or tags == ():
        return ()
    if isinstance(tags, str):
        return (text(tags, "tags"),)
    if isinstance(tags, bytes | Mapping) or not isinstance(tags, Iterable):
        raise BadRequest(
            f"tags= is a {type(tags).__name__}, not texts",
            code="LC308",
            expected='tags=["nightly", "report"]',
        )
    return tuple(text(tag, "tags") for tag in tags)


def of_texts(value: Any, name: str) -> None:
    """Raise `BadRequest` where a text in the argument *name* cannot be sent, however deep in dicts and lists."""
    if isinstance(value, str):
        text(value, name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            of_texts(key, name)
            of_texts(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            of_texts(item, name)
