"""What is told to the ledger of one request to a backend: before it, and after it."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from llmcore.types import Usage

__all__ = ["Charge", "Outcome", "Quote"]


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a backend."""

    kind: str
    """llm, voice, ..."""
    provider: str
    model: str
    """As it was asked for."""
    call: str
    """Shared by the attempts and fallbacks of one call."""
    attempt: int = 1
    user: str | None = None
    tags: tuple[str, ...] = ()
    tier: str | None = None
    """The service tier that was asked for."""
    characters: int = 0
    """That are to be spoken."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the request came to."""

    cost: Decimal | None = None
    """USD; None where nobody knows."""
    uncertain: bool = False
    """Whether the backend did not tell what it did: then the cost is the most it can be."""
    usage: Usage = Usage()
    characters: int = 0
    model: str = ""
    """The model that answered, by the backend's own name."""
    tier: str | None = None
    request_id: str | None = None
    latency_s: float = 0.0
    error: str | None = None
    """Code and name of the error; None where it was answered."""


class Quote(Protocol):
    """Knows the most that a request can cost."""

    def most(self, *, exact: bool) -> Decimal:
        """Return USD.

        Args:
            exact: False for a bound that is cheap to have; True for the tightest one.

        Raises:
            BudgetError: Nobody knows: `PriceUnknown`, or no limit to what is used.
        """
        ...
