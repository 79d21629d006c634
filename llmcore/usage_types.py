"""The types of usage, cost and rate limits. `llmcore.types` exports them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

__all__ = ["CostSource", "RateLimits", "Usage"]

CostSource = Literal["server", "config", "provider"]
"""Where a cost comes from; see `Reply.cost_source`."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """The token counts of one answer: reported by the backend, or estimated (`estimated`)."""

    input_tokens: int = 0
    """All input tokens, including cached tokens.

    If a backend reports cached tokens separately, its plugin adds both numbers.
    """
    output_tokens: int = 0
    """All output tokens, reasoning included."""
    cached_tokens: int = 0
    """Part of `input_tokens` that the vendor read from its own prompt cache."""
    cache_write_tokens: int = 0
    """Part of `input_tokens` that the vendor wrote to its prompt cache."""
    cache_write_12h_tokens: int = 0
    """Part of `cache_write_tokens` that the vendor keeps longer, at a higher price: 12 hours at OpenAI, 1 hour at Anthropic."""
    reasoning_tokens: int = 0
    """Part of `output_tokens` that is not shown."""
    audio_input_tokens: int = 0
    """Part of `input_tokens` that encodes audio."""
    audio_output_tokens: int = 0
    """Part of `output_tokens` that encodes audio."""
    image_input_tokens: int = 0
    """Part of `input_tokens` that encodes images."""
    image_output_tokens: int = 0
    """Part of `output_tokens` that encodes images."""
    estimated: bool = False
    """True if the backend sent no counts and llmcore counted the tokens locally."""
    cost: Decimal | None = None
    """USD that the backend billed for this answer; None if the backend did not report the cost."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """The rate limits that a backend reported. A value that it did not report is None."""

    requests_limit: int | None = None
    """The maximum number of requests in the window of the limit."""
    requests_remaining: int | None = None
    """The number of requests that the current window still allows."""
    requests_reset_s: float | None = None
    """Seconds until the whole limit is available again if no more requests are sent."""
    tokens_limit: int | None = None
    """The maximum number of tokens in the window of the limit."""
    tokens_remaining: int | None = None
    """The number of tokens that the current window still allows."""
    tokens_reset_s: float | None = None
    """Seconds until the whole limit is available again if no more requests are sent."""
