"""Counts messages and whole requests, and says how far the number can be relied upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.types import ChatRequest, Message, TokenCount
from llmcore_openai_optimized.counting.asked import Asked
from llmcore_openai_optimized.counting.bounding import bytes_of, most
from llmcore_openai_optimized.counting.chat import ChatSum
from llmcore_openai_optimized.counting.models import Family, family
from llmcore_openai_optimized.counting.reading import asked
from llmcore_openai_optimized.counting.responses import ResponsesSum
from llmcore_openai_optimized.counting.sums import Measure
from llmcore_openai_optimized.tokenizer import counter

__all__ = ["count_request", "total"]


def count_request(
    content: Sequence[Message] | ChatRequest | Mapping[str, Any], model: str | None = None
) -> TokenCount:
    """Count messages, a request, or a whole body of either API; *model* is whose where that does not say."""
    if isinstance(content, ChatRequest):
        body: Mapping[str, Any] = content.body()
    else:
        body = content if isinstance(content, Mapping) else {"messages": content}
    whole = asked(body, model)
    kind = family(whole.model)
    tokens = counter(kind.encoding).count
    value = total(whole, kind, tokens)
    if not whole.doubts:
        return TokenCount(value, exact=True)
    bound = most(whole, kind, tokens if kind.known else bytes_of)
    return TokenCount(value, exact=False, bound=bound if bound is None else max(bound, value))


def total(whole: Asked, kind: Family, tokens: Measure) -> int:
    """Return the tokens of the prompt; what makes them an estimate is added to the doubts of *whole*."""
    return (ResponsesSum if whole.responses else ChatSum)(whole, kind, tokens).total()
