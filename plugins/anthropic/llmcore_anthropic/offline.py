"""Estimate the tokens of a request, their upper bound and their price, without the SDK, a key or the network.

Anthropic publishes no tokenizer, so counts are estimates. `AnthropicProvider.count_on_server` asks the server.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Message, TokenCount, Usage
from llmcore_anthropic import prices
from llmcore_anthropic.measure import find_bound, has_server_tools, measure
from llmcore_anthropic.models import find_window
from llmcore_anthropic.options import AnthropicOptions
from llmcore_anthropic.request import encode, make_body

__all__ = ["Offline"]

_ASCII_PER_TOKEN: Final = 3.5
_BYTES_PER_TOKEN: Final = 2.0
"""The number of bytes per token, for characters outside of ASCII."""
_MESSAGE: Final = 4
_TOOLS: Final = 400
"""An estimate for the text that introduces tools, which has 380 to 540 tokens in recorded answers."""
_IMAGE: Final = 1_600


class Offline:
    """Implements `TokenCounter`, `BodyCounter`, `PricingProvider` and `UsageBounds` of `llmcore.contracts`."""

    def __init__(self, options: AnthropicOptions) -> None:
        self._max_tokens = options.max_tokens

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`.

        The count is an estimate. It has a bound, unless the prompt contains documents or server tools.
        """
        if isinstance(content, str):
            size = len(content.encode("utf-8", "replace"))
            return TokenCount(_estimate(content), exact=False, bound=size)
        if isinstance(content, ChatRequest):
            return self.count_body(content.body())
        return self.count_body({"model": model or "", "messages": content})

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """See `BodyCounter.count_body`. The method counts bodies of the Messages API and of Chat Completions."""
        found = measure(body)
        count = _estimate(found.text) + found.files * _IMAGE + found.messages * _MESSAGE
        if body.get("tools"):
            count += _TOOLS
        bound = find_bound(body)
        return TokenCount(count if bound is None else min(count, bound), exact=False, bound=bound)

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """See `PricingProvider.price`. Fees of server tools, such as web searches, are not included."""
        return prices.get_price(model, usage, service_tier, at)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:  # noqa: ARG002 - without a tokenizer, no count is exact
        """See `UsageBounds.most_usage`.

        Return None if the request uses server tools, because the amount of text that they read is unknown.
        """
        try:
            body = make_body(request, default_max_tokens=self._max_tokens)
            caching = b'"cache_control"' in encode(body)
        except BadRequest:
            return None
        answer, window = body["max_tokens"], find_window(request.model)
        bounds = [each for each in (find_bound(body), window and window.context) if each is not None]
        if has_server_tools(body) or not bounds or type(answer) is not int or answer < 1:
            return None
        prompt = min(bounds)
        return Usage(
            input_tokens=prompt,
            output_tokens=min(answer, window.context) if window else answer,
            cache_write_tokens=prompt if caching else 0,
            cache_write_12h_tokens=prompt if caching else 0,
            estimated=True,
        )


def _estimate(text: str) -> int:
    encoded = len(text.encode("utf-8", "replace"))
    plain = sum(character < "\x80" for character in text)
    return math.ceil(plain / _ASCII_PER_TOKEN + (encoded - plain) / _BYTES_PER_TOKEN)
