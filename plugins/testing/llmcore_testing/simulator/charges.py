"""The charges that a simulated vendor has billed. The usage and cost reports contain their sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["Charge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Requests that the simulated vendor has billed, for `Simulator.bill`."""

    at: float
    """The time at which the vendor counts the requests, in seconds since 1970."""
    model: str = ""
    """Empty for a fee that belongs to no model."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Kind of token -> tokens: input, cached_input, cache_write, cache_write_long, output."""
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    """Kind of token, or the name of a fee such as "Web Search Usage" -> USD."""
    requests: int = 1
    key: str | None = "key_1"
    """The id of the API key."""
    group: str | None = "group_1"
    """The id of the project or workspace."""
    tier: str = "standard"
    endpoint: str = "completions"
    """The report of OpenAI that counts the requests: completions, embeddings or audio_speeches."""
