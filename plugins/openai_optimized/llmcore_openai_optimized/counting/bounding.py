"""The most that a prompt can come to, found without any tokenizer: every token is at least one byte.

What the server writes around the texts is covered by allowances, each larger than anything that was ever counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcore.types import ChatRequest
from llmcore_openai_optimized.counting.asked import Asked, Called, Item, Result, ascii_json, json_text, named
from llmcore_openai_optimized.counting.images import most_of
from llmcore_openai_optimized.counting.models import Family, family
from llmcore_openai_optimized.counting.reading import asked
from llmcore_openai_optimized.counting.render import TooLarge, namespace

__all__ = ["bound", "bytes_of", "most"]

_REQUEST: Final = 64
"""For what opens and closes a prompt; 18 more than known was the most seen."""
_ITEM: Final = 16
"""For the frame of a message, a call or a result; 14 was the most seen."""
_TOOLS: Final = 320
"""For what introduces tools; 224 was the most seen."""
_FUNCTION: Final = 16


def bound(request: ChatRequest | Mapping[str, Any]) -> int | None:
    """Return more tokens than the server can count for the prompt of *request*, a request or a whole body.

    None where nothing bounds them: files, what the server's own tools find, what the server remembers.
    """
    whole = asked(request.body() if isinstance(request, ChatRequest) else request)
    return most(whole, family(whole.model), bytes_of)


def most(whole: Asked, kind: Family, measure: Callable[[str], int]) -> int | None:
    """Return the bound of a request that was taken apart; *measure* gives each text's tokens, or a bound of them."""
    if whole.boundless:
        return None
    sum_ = _REQUEST + whole.hidden + sum(_ITEM + bytes_of(text) for text in whole.loose)
    sum_ += sum(_item(item, kind, measure) for item in whole.items)
    if any(isinstance(item, Called) and len(item.calls) > 1 for item in whole.items):
        # Results of calls that were made at once are written as JSON, escaped.
        sum_ += sum(_ITEM + len(ascii_json(item.text)) for item in whole.items if isinstance(item, Result))
    if whole.functions:
        tools = _tools(whole)
        if tools is None:
            return None
        sum_ += tools
    if whole.schema is not None:
        sum_ += _ITEM + len(ascii_json(whole.schema)) + bytes_of(named(whole.schema))
    if isinstance(whole.choice, Mapping):
        sum_ += _ITEM + bytes_of(json_text(whole.choice))
    return sum_


def bytes_of(text: str) -> int:
    """Return the length of *text* in UTF-8; half a character is three bytes, as its replacement is."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _item(item: Item, kind: Family, measure: Callable[[str], int]) -> int:
    if isinstance(item, Called):
        # Arguments are written anew: 1e5 becomes 100000.0, which has more tokens than that has bytes.
        calls = sum(_ITEM + bytes_of(call.name) + bytes_of(call.arguments) for call in item.calls)
        return bytes_of(item.name) + 2 * calls
    pictures = sum(_ITEM + most_of(picture, kind) for picture in item.pictures)
    return _ITEM + bytes_of(item.name) + measure(item.text) + pictures


def _tools(whole: Asked) -> int | None:
    """A function as JSON is longer than as TypeScript, but for indents, the ends of lines, and references."""
    written = json_text(whole.functions)
    sum_ = _TOOLS + _FUNCTION * len(whole.functions) + 2 * bytes_of(written)
    if '"$ref"' in written:
        try:
            sum_ += bytes_of(namespace(whole.functions).text)
        except TooLarge:
            return None
    return sum_ + sum(bytes_of(named(function)) for function in whole.functions)
