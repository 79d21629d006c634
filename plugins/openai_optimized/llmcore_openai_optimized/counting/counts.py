"""Count the tokens of messages and requests, and report whether the count is exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmcore.units import TokenCount
from llmcore_openai_optimized.counting.body_parser import parse_request
from llmcore_openai_optimized.counting.models import Family, get_family
from llmcore_openai_optimized.tokenizer import get_counter

TYPE_CHECKING = False  # not imported from `typing`, because that import is slow
if TYPE_CHECKING:
    from typing import Any

    from llmcore.types import ChatRequest, Message
    from llmcore_openai_optimized.counting.parsed_request import ParsedRequest
    from llmcore_openai_optimized.counting.prompt_sum import Measure

__all__ = ["count_prompt", "count_request"]


def count_request(
    content: Sequence[Message] | ChatRequest | Mapping[str, Any], model: str | None = None
) -> TokenCount:
    """Count messages, a request, or a body of Chat Completions or Responses.

    *model* is used if *content* does not name a model.
    """
    body: Mapping[str, Any]
    if isinstance(content, Mapping):
        body = content
    elif isinstance(content, Sequence):
        body = {"messages": content}
    else:  # no isinstance check: importing ChatRequest takes longer than a first count
        body = content.body()
    whole = parse_request(body, model)
    kind = get_family(whole.model)
    tokens = get_counter(kind.encoding).count
    value = count_prompt(whole, kind, tokens)
    if not whole.doubts:
        return TokenCount(value, exact=True)
    from llmcore_openai_optimized.counting.prompt_bound import count_bytes, sum_bounds

    bound = sum_bounds(whole, kind, tokens if kind.known else count_bytes)
    return TokenCount(value, exact=False, bound=bound if bound is None else max(bound, value))


def count_prompt(whole: ParsedRequest, kind: Family, tokens: Measure) -> int:
    """Return the tokens of the prompt; if the count is an estimate, add the reasons to `whole.doubts`."""
    if whole.responses:
        from llmcore_openai_optimized.counting.responses import ResponsesSum

        return ResponsesSum(whole, kind, tokens).count()
    from llmcore_openai_optimized.counting.chat import ChatSum

    return ChatSum(whole, kind, tokens).count()
