"""Messages, texts and a tool for the tests of language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ODD_MESSAGES", "TEXTS", "TOOL"]

ODD_MESSAGES: Final[Mapping[str, list[Any]]] = {
    "no_messages": [],
    "empty_text": [{"role": "user", "content": ""}],
    "only_spaces": [{"role": "user", "content": " \n\t"}],
    "no_content": [{"role": "user"}],
    "null_content": [{"role": "user", "content": None}],
    "unknown_role": [{"role": "nobody", "content": "Hello"}],
    "no_role": [{"content": "Hello"}],
    "a_number_as_content": [{"role": "user", "content": 7}],
    "a_part_without_type": [{"role": "user", "content": [{}]}],
    "only_the_system": [{"role": "system", "content": "Be brief."}],
    "ends_with_the_assistant": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    "lone_surrogate": [{"role": "user", "content": "a\ud800b"}],
    "nul": [{"role": "user", "content": "a\0b"}],
}
TEXTS: Final = {
    "umlauts": "Gr\u00fc\u00dfe aus K\u00f6ln",
    "chinese": "\u4f60\u597d\uff0c\u4e16\u754c",
    "emoji": "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "right_to_left": "\u0645\u0631\u062d\u0628\u0627",
    "quotes_and_slashes": '"quoted" \\ back / and {braces} </s> <|endoftext|>',
    "lines": "one\r\ntwo\n\nthree\t.",
}
TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}
