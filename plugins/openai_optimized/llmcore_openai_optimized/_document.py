"""One chat completion put together from the chunks of a stream, as if it had come in one piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["Choice", "document"]

_ONCE: Final = frozenset({"format", "id", "index", "name", "object", "role", "type"})
"""Texts that come whole: some servers repeat them in every chunk. All others come in pieces."""

_encode = msgspec.json.Encoder().encode


class Choice:
    """One choice as far as it has come."""

    __slots__ = ("finish_reason", "logprobs", "message", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.message: dict[str, Any] = {}
        self.logprobs: dict[str, Any] = {}
        self.finish_reason: str | None = None

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a piece of the message; its content goes to `texts` as well."""
        _merge(self.message, {name: value for name, value in delta.items() if name != "content"})

    def note(self, logprobs: Any) -> None:
        """Take the logarithms of a piece: lists that grow at their end."""
        if isinstance(logprobs, Mapping):
            for name, value in logprobs.items():
                if isinstance(value, list):
                    self.logprobs[name] = [*(self.logprobs.get(name) or ()), *value]

    @property
    def spoke(self) -> bool:
        """Whether it holds a text or a call."""
        return any(self.texts) or bool(self.message.get("tool_calls") or self.message.get("function_call"))

    def whole(self, index: int) -> dict[str, Any]:
        """Return the choice as a completion holds it."""
        content = "".join(self.texts) if self.texts else None
        message: dict[str, Any] = {"role": "assistant", "content": content}
        message.update(self.message)
        for call in message.get("tool_calls") or ():
            call.pop("index", None)
        return {
            "index": index,
            "message": message,
            "logprobs": self.logprobs or None,
            "finish_reason": self.finish_reason,
        }


def document(head: Mapping[str, Any], choices: Mapping[int, Choice], usage: Any) -> bytes:
    """Return the completion as JSON."""
    return _encode(
        {
            **head,
            "object": "chat.completion",
            "choices": [choices[index].whole(index) for index in sorted(choices)],
            "usage": usage,
        }
    )


def _merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        old = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(value, str) and isinstance(old, str):
            whole[name] = old if old and name in _ONCE else old + value
        elif isinstance(value, Mapping) and isinstance(old, dict):
            _merge(old, value)
        elif isinstance(value, Mapping):
            whole[name] = _copied(value)
        elif isinstance(value, list):
            whole[name] = _merged(old if isinstance(old, list) else [], value)
        else:
            whole[name] = value


def _merged(old: list[Any], pieces: list[Any]) -> list[Any]:
    """Join pieces that bear an `index` with what has it already; append all others."""
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, Mapping) else None
        known = next(
            (
                each
                for each in old
                if index is not None and isinstance(each, dict) and each.get("index") == index
            ),
            None,
        )
        if known is not None:
            _merge(known, piece)
        elif isinstance(piece, Mapping):
            old.append(_copied(piece))
        else:
            old.append(piece)
    return old


def _copied(piece: Mapping[str, Any]) -> dict[str, Any]:
    fresh: dict[str, Any] = {}
    _merge(fresh, piece)
    return fresh
