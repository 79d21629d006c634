"""Counts texts, messages and whole requests, and says how far the number can be relied upon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.types import ChatRequest, Message, TokenCount, Usage
from llmcore_openai_optimized.counting.asked import Asked
from llmcore_openai_optimized.counting.bound import bytes_of, most
from llmcore_openai_optimized.counting.chat import ChatSum
from llmcore_openai_optimized.counting.models import Family, family
from llmcore_openai_optimized.counting.reading import asked
from llmcore_openai_optimized.counting.responses import ResponsesSum
from llmcore_openai_optimized.counting.sums import Measure

__all__ = ["count", "estimated", "total"]


def count(
    content: str | Sequence[Message] | ChatRequest | Mapping[str, Any], model: str | None = None
) -> TokenCount:
    """Count a text alone, messages, a request, or a whole body of either API.

    Exact only where the server is known to count the same. An estimate has a bound where anything bounds it.
    """
    if isinstance(content, str):
        return _text(content, family(model))
    if isinstance(content, ChatRequest):
        body: Mapping[str, Any] = content.body()
    else:
        body = content if isinstance(content, Mapping) else {"messages": content}
    whole = asked(body, model)
    kind = family(whole.model)
    value = total(whole, kind, measure(kind))
    if not whole.doubts:
        return TokenCount(value, exact=True)
    bound = most(whole, kind, measure(kind) if kind.known else bytes_of)
    return TokenCount(value, exact=False, bound=bound if bound is None else max(bound, value))


def total(whole: Asked, kind: Family, tokens: Measure) -> int:
    """Return the tokens of the prompt; what makes them an estimate is added to the doubts of *whole*."""
    return (ResponsesSum if whole.responses else ChatSum)(whole, kind, tokens).total()


def measure(kind: Family) -> Measure:
    """Return what gives the tokens of a text."""
    from llmcore_openai_optimized._ranks import encoding

    encode = encoding(kind.encoding).encode_ordinary
    return lambda text: len(encode(text)) if text else 0


def estimated(request: ChatRequest, text: str) -> Usage:
    """Return the usage of an answer of which the server counted nothing."""
    kind = family(request.model)
    return Usage(input_tokens=int(count(request)), output_tokens=measure(kind)(text), estimated=True)


def _text(text: str, kind: Family) -> TokenCount:
    value = measure(kind)(text)
    return TokenCount(value, exact=kind.known, bound=value if kind.known else bytes_of(text))
