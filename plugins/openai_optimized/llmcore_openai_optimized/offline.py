"""What needs no SDK, key or network: token counts and prices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from llmcore.types import ChatRequest, Message, TokenCount, Usage
from llmcore_openai_optimized import prices, tokens
from llmcore_openai_optimized.account import PricingTier

__all__ = ["Offline"]


class Offline:
    """Keeps `llmcore.contracts.TokenCounter` and `PricingProvider`."""

    def __init__(self, pricing_tier: PricingTier = "standard") -> None:
        self._tier = pricing_tier

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`."""
        return tokens.count(content, model)

    def price(self, model: str, usage: Usage, service_tier: str | None = None) -> Decimal | None:
        """See `PricingProvider.price`. The tier that served decides; where none is named, the configured one."""
        return prices.price(model, usage, service_tier, self._tier)
