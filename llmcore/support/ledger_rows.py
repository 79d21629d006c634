"""A whole row of a ledger, for reports, exports and imports."""

from __future__ import annotations

import math

import msgspec

__all__ = ["LedgerRow", "RowQuery"]


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or the hits of one second."""

    id: int = 0
    """A number that increases with time; unique in its ledger."""
    at: float
    """Seconds since 1970."""
    call: str = ""
    """Shared by the attempts and fallbacks of one call."""
    attempt: int = 0
    state: str
    """open, done, failed, lost (its owner died) or hit (answered by the cache)."""
    count: int = 1
    """More than 1 for hits, which are recorded in bulk."""
    kind: str
    provider: str
    model: str
    """The requested model."""
    served: str | None = None
    """The model that answered, as the backend names it."""
    reserved: int = 0
    """Nano-dollars, as `cost` and `saved`."""
    cost: int | None = None
    """None if unknown."""
    uncertain: bool = False
    """Whether the outcome is unknown: booked at its maximum cost."""
    estimated: bool = False
    """Whether the backend sent no usage, and the tokens were counted on this side."""
    saved: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_12h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    characters: int = 0
    latency_ms: float | None = None
    first_token_ms: float | None = None
    """Until the first content of a stream; None if it was not streamed."""
    tier_asked: str | None = None
    tier: str | None = None
    request_id: str | None = None
    error: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    owner: str | None = None
    """The process that has the row open."""
    cost_source: str | None = None
    """server (the billed amount), config ([prices]) or provider (its price table)."""


class RowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to return. None stands for all."""

    since: float = 0.0
    """Seconds since 1970; the first time that matches."""
    until: float = math.inf
    """The first time that no longer matches."""
    states: tuple[str, ...] | None = None
    kind: str | None = None
    provider: str | None = None
    model: str | None = None
    newest_first: bool = False
    limit: int | None = None
