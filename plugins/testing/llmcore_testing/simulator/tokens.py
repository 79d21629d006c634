"""Token counts of the simulator. Four characters count as one token; real tokenizers count differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator.wire import encode

__all__ = ["count", "count_message", "count_prompt", "cut", "get_text", "make_usage"]

_CHARACTERS: Final = 4
_PER_MESSAGE: Final = 4
_PER_ANSWER: Final = 3
_PER_PICTURE: Final = 85


def count(text: str) -> int:
    """Return the number of tokens in *text*: a quarter of the characters, rounded up."""
    return -(-len(text) // _CHARACTERS)


def cut(text: str, most: int) -> str:
    """Return the first *most* tokens of *text*."""
    return text[: most * _CHARACTERS]


def count_prompt(body: Mapping[str, Any]) -> int:
    """Return the number of tokens in a chat request: the messages, and the tools as JSON."""
    total = _PER_ANSWER
    for message in body["messages"]:
        total += _PER_MESSAGE + _count_content(message.get("content"))
        if calls := message.get("tool_calls"):
            total += count(encode(calls).decode())
    if tools := body.get("tools"):
        total += count(encode(tools).decode())
    return total


def count_message(message: Mapping[str, Any]) -> int:
    """Return the number of tokens in an answer: the text, and the names and arguments of tool calls."""
    total = count(message.get("content") or "")
    for call in message.get("tool_calls") or ():
        asked = call.get("function") or call.get("custom") or {}
        total += count(asked.get("name", "")) + count(asked.get("arguments", asked.get("input", "")))
    return total


def make_usage(prompt: int, completion: int) -> dict[str, Any]:
    """Return the `usage` of a chat completion."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def get_text(content: Any) -> str:
    """Return the text of *content*, which is a string, a list of parts, or None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return " ".join([part["text"] for part in content if isinstance(part.get("text"), str)])


def _count_content(content: Any) -> int:
    if not isinstance(content, list):
        return count(get_text(content))
    others = sum(1 for part in content if not isinstance(part.get("text"), str))
    return count(get_text(content)) + others * _PER_PICTURE
