"""Compute an upper bound of the prompt tokens without a tokenizer.

Every token has at least one byte, so the bytes of a text are an upper bound of its tokens. Allowances, in tokens,
cover the text that the server adds; each allowance is larger than every measured value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcore.types import ChatRequest
from llmcore_openai_optimized.counting.body_parser import parse_request
from llmcore_openai_optimized.counting.images import get_max_image_cost
from llmcore_openai_optimized.counting.models import Family, get_family
from llmcore_openai_optimized.counting.parsed_request import (
    CallsItem,
    Item,
    ParsedRequest,
    ResultItem,
    encode_ascii_json,
    encode_json,
    get_name,
)
from llmcore_openai_optimized.counting.render import TooLarge, render_namespace

__all__ = ["bound", "count_bytes", "sum_bounds"]

_REQUEST: Final = 64
"""The allowance for the start and end of a prompt. The largest measured value was 18."""
_ITEM: Final = 16
"""The allowance for the frame of a message, call or result. The largest measured value was 14."""
_TOOLS: Final = 320
"""The allowance for the introduction of tools. The largest measured value was 224."""
_FUNCTION: Final = 16


def bound(request: ChatRequest | Mapping[str, Any]) -> int | None:
    """Return an upper bound of the prompt tokens of *request*, a request or a body.

    Return None if no bound exists, because of files, results of server-side tools, or data stored on the server.
    """
    whole = parse_request(request.body() if isinstance(request, ChatRequest) else request)
    return sum_bounds(whole, get_family(whole.model), count_bytes)


def sum_bounds(whole: ParsedRequest, kind: Family, measure: Callable[[str], int]) -> int | None:
    """Return the bound of a parsed request; *measure* returns the tokens of a text, or an upper bound of this number."""
    if whole.boundless:
        return None
    sum_ = _REQUEST + whole.hidden + sum(_ITEM + count_bytes(text) for text in whole.unparsed)
    sum_ += sum(_bound_item(item, kind, measure) for item in whole.items)
    if any(isinstance(item, CallsItem) and len(item.calls) > 1 for item in whole.items):
        # Results of parallel calls are written as escaped JSON.
        sum_ += sum(
            _ITEM + len(encode_ascii_json(item.text)) for item in whole.items if isinstance(item, ResultItem)
        )
    if whole.functions:
        tools = _bound_tools(whole)
        if tools is None:
            return None
        sum_ += tools
    if whole.schema is not None:
        sum_ += _ITEM + len(encode_ascii_json(whole.schema)) + count_bytes(get_name(whole.schema))
    if isinstance(whole.choice, Mapping):
        sum_ += _ITEM + count_bytes(encode_json(whole.choice))
    return sum_


def count_bytes(text: str) -> int:
    """Return the length of *text* in UTF-8; a lone surrogate has three bytes, like its replacement."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _bound_item(item: Item, kind: Family, measure: Callable[[str], int]) -> int:
    if isinstance(item, CallsItem):
        # Count the bytes twice, because the server rewrites the arguments of calls. For example, 1e5 becomes
        # 100000.0, which has more tokens than 1e5 has bytes.
        calls = sum(_ITEM + count_bytes(call.name) + count_bytes(call.arguments) for call in item.calls)
        return count_bytes(item.name) + 2 * calls
    pictures = sum(_ITEM + get_max_image_cost(picture, kind) for picture in item.pictures)
    return _ITEM + count_bytes(item.name) + measure(item.text) + pictures


def _bound_tools(whole: ParsedRequest) -> int | None:
    """Return an upper bound of the tokens of the tools, from their JSON.

    The server writes the tools as TypeScript, which is shorter than JSON except for indents, line ends and
    references.
    """
    written = encode_json(whole.functions)
    sum_ = _TOOLS + _FUNCTION * len(whole.functions) + 2 * count_bytes(written)
    if '"$ref"' in written:
        try:
            sum_ += count_bytes(render_namespace(whole.functions).text)
        except TooLarge:
            return None
    return sum_ + sum(count_bytes(get_name(function)) for function in whole.functions)
