"""The types of usage, cost and rate limits. `llmcore.types` exports them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

__all__ = ["CostSource", "RateLimits", "Usage"]

CostSource = Literal["server", "config", "provider"]


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """Tokens of one answer, as counted by the backend."""

    input_tokens: int = 0
    """All input tokens, cached ones included. If a backend reports them separately, its plugin adds them up."""
    output_tokens: int = 0
    """All output tokens, reasoning included."""
    cached_tokens: int = 0
    """Part of `input_tokens` that the vendor read from its own prompt cache."""
    cache_write_tokens: int = 0
    """Part of `input_tokens` that the vendor wrote to its prompt cache."""
    cache_write_12h_tokens: int = 0
    """Part of `cache_write_tokens` that is kept for longer, which costs more: for 12 hours by OpenAI, for 1 hour by Anthropic."""
    reasoning_tokens: int = 0
    """Part of `output_tokens` that is not shown."""
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    estimated: bool = False
    """True if the backend sent no count and a local count replaces it."""
    cost: Decimal | None = None
    """USD that the backend billed for this answer; None if it did not report it."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class RateLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """The rate limits that a backend reported; None for values that it did not report."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset_s: float | None = None
    """Seconds until the whole limit is available again, if nothing more is sent."""
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset_s: float | None = None
