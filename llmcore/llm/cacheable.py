"""Decide which replies may be cached: complete replies with content. Refusals are never cached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore.support.finish_reasons import normalise_finish_reason
from llmcore.types import Choice, Reply

__all__ = ["is_cacheable"]

_COMPLETE: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Finish reasons of a complete answer. Answers that were cut off, filtered or abandoned are not cached."""

_MEDIA: Final = ("audio", "images", "image")
"""Fields of a message for content other than text."""


def is_cacheable(reply: Reply, *, several: bool = False) -> bool:
    """Return whether *reply* is complete and has content: text other than white space, a tool call, audio or an image.

    A reply that has only reasoning has no content.

    Args:
        reply: The provider's answer.
        several: True if several choices were requested. Each choice must then be complete and have content.
    """
    if reply.refusal or normalise_finish_reason(reply.finish_reason) not in _COMPLETE:
        return False
    if several and (choices := _get_choices(reply)):
        return all(_is_complete(choice) for choice in choices)
    if several:
        return bool(reply.other_choices) and all(map(_is_complete_choice, reply.choices))
    if reply.tool_calls or (reply.text and not reply.text.isspace()):
        return True
    return any(_has_media(_get_message(choice)) for choice in _get_choices(reply))


def _get_choices(reply: Reply) -> list[Any]:
    """Return the choices in the provider's own document, if it has the format of Chat Completions."""
    try:
        document = reply.raw
    except ValueError:  # msgspec's errors are ValueErrors
        return []
    choices = document.get("choices") if isinstance(document, Mapping) else None
    return choices if isinstance(choices, list) else []


def _get_message(choice: Any) -> Mapping[str, Any]:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    return message if isinstance(message, Mapping) else {}


def _is_complete(choice: Any) -> bool:
    message = _get_message(choice)
    if not message or message.get("refusal"):
        return False
    if normalise_finish_reason(choice.get("finish_reason")) not in _COMPLETE:
        return False
    called = message.get("tool_calls") or message.get("function_call")
    return bool(called) or _has_text(message.get("content")) or _has_media(message)


def _is_complete_choice(choice: Choice) -> bool:
    """Return whether *choice* is complete, for a provider that does not return a document."""
    if choice.refusal or normalise_finish_reason(choice.finish_reason) not in _COMPLETE:
        return False
    return bool(choice.tool_calls) or _has_text(choice.text)


def _has_text(content: Any) -> bool:
    if isinstance(content, list):
        return any(_has_text(part.get("text") if isinstance(part, Mapping) else part) for part in content)
    return isinstance(content, str) and bool(content.strip())


def _has_media(message: Mapping[str, Any]) -> bool:
    """Return whether a message contains audio or an image, in a field such as `audio`, or as a part of `content`."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    kinds = [part.get("type") for part in parts if isinstance(part, Mapping)]
    in_content = any(isinstance(kind, str) and ("image" in kind or "audio" in kind) for kind in kinds)
    return in_content or any(message.get(name) for name in _MEDIA)
