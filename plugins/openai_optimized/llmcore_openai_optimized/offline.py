"""The abilities that need no SDK, key or network: token counts, usage bounds, prices and shutdown dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from llmcore.types import ChatRequest, EmbeddingLimits, Message, TokenCount, Usage
from llmcore_openai_optimized import bounds, prices, shutdown_dates, tokens
from llmcore_openai_optimized.account import PricingTier
from llmcore_openai_optimized.embedding_limits import get_embedding_limits

__all__ = ["Offline"]


class Offline:
    """Implement `EmbeddingBounds`, `TokenCounter`, `BodyCounter`, `PricingProvider`, `UsageBounds` and `ModelLifetimes` of `llmcore.contracts`."""

    def __init__(self, pricing_tier: PricingTier = "standard", *, azure: bool = False) -> None:
        self._tier = pricing_tier
        self._azure = azure

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`."""
        return tokens.count(content, model)

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """See `BodyCounter.count_body`. The method counts bodies of Chat Completions and of Responses."""
        return tokens.count(body)

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """See `PricingProvider.price`.

        The tier of the answer is used, or the configured tier if the answer has none.
        """
        return prices.price(model, usage, service_tier, self._tier, at)

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """Return the cost in USD of *characters* of speech; None if *model* is unknown or is billed by another unit."""
        return prices.speech_price(model, characters, at)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:
        """See `UsageBounds.most_usage`. Fees that do not depend on tokens, such as those of searches, are not included."""
        return bounds.most_usage(request, exact=exact)

    def embedding_limits(self, model: str) -> EmbeddingLimits:
        """See `EmbeddingBounds.embedding_limits`."""
        return get_embedding_limits(model)

    def shutdown_date(self, model: str) -> date | None:
        """See `ModelLifetimes.shutdown_date`. Azure's dates differ and are unknown here."""
        return None if self._azure else shutdown_dates.shutdown_date(model)
