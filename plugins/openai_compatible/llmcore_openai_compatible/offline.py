"""Count tokens, and compute bounds and prices, without a key or the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.support.chat_bounds import get_answer_count, get_output_limit
from llmcore.types import ChatRequest, EmbeddingLimits, Message, TokenCount, Usage
from llmcore_openai_compatible.address import is_loopback
from llmcore_openai_compatible.servers import Server
from llmcore_openai_optimized import bounds, prices, tokens

__all__ = ["Offline", "is_free"]

_UNKNOWN: Final = ""
"""Replaces the model's name when tokens are counted or bounded.

Otherwise, a model that has the name of an OpenAI model would get the tokenizer and the context window of that
model.
"""
_ANY: Final = 100_000_000
"""A number of tokens far beyond the context length of any model."""
_LIMITS: Final = EmbeddingLimits(max_texts=64)


def is_free(server: Server, base_url: str) -> bool:
    """Return whether an answer of *server* at *base_url* costs nothing, because the user runs the server on this machine."""
    return server.local and is_loopback(base_url)


class Offline:
    """Implement `TokenCounter`, `BodyCounter`, `PricingProvider`, `UsageBounds` and `EmbeddingBounds` of `llmcore.contracts`.

    The tokenizers of these models are not known here, so counts are estimates.
    """

    def __init__(self, server: Server, *, is_free: bool) -> None:
        """Use the prices of *server*. If *is_free* is true, answers cost nothing."""
        self._server = server
        self._is_free = is_free

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`."""
        del model
        if isinstance(content, ChatRequest):
            content = msgspec.structs.replace(content, model=_UNKNOWN)
        return tokens.count(content, _UNKNOWN)

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """See `BodyCounter.count_body`."""
        return tokens.count({**body, "model": _UNKNOWN})

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """See `PricingProvider.price`.

        Answers of a server that the user runs cost 0 if the server runs on this machine. If it runs on another
        machine, their price is unknown.
        """
        if self._is_free or (self._server.name == "openrouter" and model.endswith(":free")):
            return Decimal(0)
        if self._server.prices is None:
            return None
        name = model.removeprefix("models/")
        return prices.price(name, usage, service_tier, at=at or datetime.now(UTC), vendor=self._server.prices)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:  # noqa: ARG002 - without a tokenizer, no count is exact
        """See `UsageBounds.most_usage`. The context length is not used, because only the server knows it."""
        prompt = bounds.bound_prompt(msgspec.structs.replace(request, model=_UNKNOWN))
        limit = get_output_limit(request.parameters)
        if self._is_free:  # any bound is good enough, because any number of tokens costs nothing
            prompt, limit = prompt or _ANY, limit or _ANY
        if prompt is None or limit is None:
            return None
        answers = limit * get_answer_count(request.parameters)
        written = 0 if self._is_free else prompt
        return Usage(input_tokens=prompt, output_tokens=answers, cache_write_tokens=written, estimated=True)

    def embedding_limits(self, model: str) -> EmbeddingLimits:  # noqa: ARG002 - all models have the same limits
        """See `EmbeddingBounds.embedding_limits`."""
        return _LIMITS
