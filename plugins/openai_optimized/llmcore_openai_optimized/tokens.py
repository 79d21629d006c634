"""Count tokens without the network.

A count is exact if OpenAI's servers are known to count the same; otherwise it is an estimate. The rules for whole
requests are imported only when a request is counted.
"""

from __future__ import annotations

from llmcore.units import TokenCount
from llmcore_openai_optimized.counting.models import get_family
from llmcore_openai_optimized.tokenizer import get_counter

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from llmcore.types import ChatRequest, Message

__all__ = ["count"]


def count(
    content: str | Sequence[Message] | ChatRequest | Mapping[str, Any], model: str | None = None
) -> TokenCount:
    """Count a text, messages, a request, or a body of Chat Completions or Responses.

    The count is exact only if the server is known to count the same. An estimate has a bound if a bound is known.

    Raises:
        PluginBroken: The token table is missing or damaged.
    """
    if getattr(content, "api", "chat") != "chat":
        content = content.body()  # type: ignore[union-attr]  # a ChatRequest of another API
    if isinstance(content, str):
        kind = get_family(model)
        value = get_counter(kind.encoding).count(content)
        return TokenCount(value, exact=kind.known, bound=len(content.encode("utf-8", "surrogatepass")))
    from llmcore_openai_optimized.counting.counts import count_request

    return count_request(content, model)
