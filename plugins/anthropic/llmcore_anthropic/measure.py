"""Measure prompts in bodies of the Messages API or of Chat Completions, for token estimates and upper bounds.

Images and documents are counted apart from the text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["Measure", "find_bound", "has_server_tools", "measure"]

_READ: Final = ("system", "messages", "tools", "output_config", "response_format")
"""The fields that the model reads."""
_FILES: Final = {"image": "source", "document": "source", "image_url": "image_url", "file": "file"}
"""Type of a part, such as an image -> the field of the part that contains the file."""
_IMAGES: Final = frozenset({"image", "image_url"})
_FRAME: Final = 256
"""An upper bound of the tokens that the server adds to a prompt. In all recorded answers, it added fewer tokens."""
_TOOLS_BOUND: Final = 2_000
_IMAGE_BOUND: Final = 10_000


class Measure(NamedTuple):
    """The size of a prompt."""

    text: str
    """The texts, joined."""
    files: int
    """Images and documents."""
    messages: int


def measure(body: Mapping[str, Any]) -> Measure:
    """Return the size of the prompt in *body*."""
    texts: list[str] = []
    files = 0
    left: list[Any] = [body.get(name) for name in _READ]
    while left:
        item = left.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, Mapping):
            if _find_file(item) is not None:
                files += 1
                continue
            left += item.values()
            texts += item.keys() if "properties" in item or "type" not in item else ()
        elif isinstance(item, list | tuple):
            left += item
    messages = body.get("messages")
    return Measure(" ".join(map(str, texts)), files, len(messages) if isinstance(messages, list) else 0)


def find_bound(body: Mapping[str, Any]) -> int | None:
    """Return an upper bound of the tokens that the server counts for *body*; None if no bound is known.

    Each token of a text has at least one byte, so the size of the text in bytes is an upper bound of its tokens.
    """
    if has_server_tools(body):
        return None
    size = _FRAME + (_TOOLS_BOUND if body.get("tools") else 0)
    left: list[Any] = [body.get("messages"), body.get("system")]
    while left:
        item = left.pop()
        if isinstance(item, Mapping):
            file = _find_file(item)
            if file is not None:
                if item["type"] not in _IMAGES:
                    return None  # a document may have any number of pages
                size += _IMAGE_BOUND - _get_size(file)
            else:
                left += item.values()
        elif isinstance(item, list | tuple):
            left += item
    return size + _get_size({name: body.get(name) for name in _READ})


def has_server_tools(body: Mapping[str, Any]) -> bool:
    """Return whether the request has server tools, which may add any amount of text to the prompt."""
    tools = body.get("tools")
    return bool(body.get("mcp_servers") or body.get("container")) or any(
        isinstance(tool, Mapping) and "input_schema" not in tool and "function" not in tool
        for tool in (tools if isinstance(tools, list | tuple) else ())
    )


def _find_file(part: Mapping[str, Any]) -> Any:
    """Return the file of an image or a document; None if *part* is neither."""
    kind = part.get("type")
    return part.get(_FILES[kind]) if isinstance(kind, str) and kind in _FILES else None


def _get_size(value: Any) -> int:
    return len(json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace"))
