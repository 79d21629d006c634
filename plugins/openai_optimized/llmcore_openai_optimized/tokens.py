"""Token counts without the network: exact where OpenAI's servers are known to count the same, else an estimate.

A text alone needs little; what whole requests need is imported when one is counted.
"""

from __future__ import annotations

from llmcore.units import TokenCount
from llmcore_openai_optimized.counting.models import family
from llmcore_openai_optimized.tokenizer import counter

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from llmcore.types import ChatRequest, Message

__all__ = ["count"]


def count(
    content: str | Sequence[Message] | ChatRequest | Mapping[str, Any], model: str | None = None
) -> TokenCount:
    """Count a text alone, messages, a request, or a whole body of either API.

    Exact only where the server is known to count the same. An estimate has a bound where anything bounds it.

    Raises:
        PluginBroken: The table of tokens is missing or damaged.
    """
    if isinstance(content, str):
        kind = family(model)
        value = counter(kind.encoding).count(content)
        return TokenCount(value, exact=kind.known, bound=len(content.encode("utf-8", "surrogatepass")))
    from llmcore_openai_optimized.counting.counts import count_request

    return count_request(content, model)
