"""The facts that the ledger records about one request: first the charge, afterwards the outcome."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from llmcore.types import CostSource, Usage

__all__ = ["Charge", "Outcome", "Quote"]


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a backend, before it is sent."""

    kind: str
    """llm, voice, ..."""
    provider: str
    model: str
    """The requested model."""
    call: str
    """The id of the call, shared by all its attempts and fallbacks."""
    attempt: int = 1
    user: str | None = None
    tags: tuple[str, ...] = ()
    tier: str | None = None
    """The requested service tier."""
    characters: int = 0
    """The length of the text to synthesize."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ended, and its cost."""

    cost: Decimal | None = None
    """USD; None if unknown."""
    cost_source: CostSource | None = None
    """Where the cost comes from; see `Reply.cost_source`."""
    uncertain: bool = False
    """Whether the outcome is unknown. Then `cost` is the maximum cost."""
    requested: bool = True
    """False if the call was cancelled or refused before a request was made. Then the row is deleted."""
    usage: Usage = Usage()
    characters: int = 0
    model: str = ""
    """The model that answered, as the backend names it."""
    tier: str | None = None
    request_id: str | None = None
    latency_s: float = 0.0
    first_token_s: float | None = None
    """Seconds until the first content of a streamed answer; None if the answer was not streamed."""
    error: str | None = None
    """Code and class name of the error; None if the request was answered."""


class Quote(Protocol):
    """The maximum cost of a request."""

    def compute_maximum(self, *, exact: bool) -> Decimal:
        """Return the maximum cost in USD.

        Args:
            exact: False for an upper bound that is cheap to compute; True for the lowest bound.

        Raises:
            PriceUnknown: The price of the model is unknown.
            BudgetError: The usage has no upper bound.
        """
        ...

    def find_fix(self, left: Decimal) -> str | None:
        """Return a change of the call after which it costs at most *left* USD; None if no change is possible."""
        ...
