"""What needs no SDK, key or network: token counts, bounds, prices, and how long models live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from llmcore.types import ChatRequest, Message, TokenCount, Usage
from llmcore_openai_optimized import bounds, lifetimes, prices, tokens
from llmcore_openai_optimized.account import PricingTier

__all__ = ["Offline"]


class Offline:
    """Keeps `TokenCounter`, `BodyCounter`, `PricingProvider`, `UsageBounds` and `ModelLifetimes` of `llmcore.contracts`."""

    def __init__(self, pricing_tier: PricingTier = "standard", *, azure: bool = False) -> None:
        self._tier = pricing_tier
        self._azure = azure

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`."""
        return tokens.count(content, model)

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """See `BodyCounter.count_body`: bodies of Chat Completions and of Responses."""
        return tokens.count(body)

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """See `PricingProvider.price`. The tier that served decides; where none is named, the configured one."""
        return prices.price(model, usage, service_tier, self._tier, at)

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """Return what it costs in USD to have *characters* spoken; None of a model that is not billed by them."""
        return prices.speech_price(model, characters, at)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:
        """See `UsageBounds.most_usage`. Fees that are no tokens, such as those of searches, are not in it."""
        return bounds.most_usage(request, exact=exact)

    def shutdown_date(self, model: str) -> date | None:
        """See `ModelLifetimes.shutdown_date`. Azure keeps dates of its own, which nobody here knows."""
        return None if self._azure else lifetimes.shutdown_date(model)
