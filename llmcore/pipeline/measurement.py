"""The cost of a text as embeddings or as speech, computed without a request."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from llmcore.support.ledger_values import Charge

__all__ = ["Measurement"]


class Measurement(NamedTuple):
    """The measures of one text."""

    key: object
    """The key of the request that the text needs. Texts with equal keys share one request."""
    charge: Charge
    """The provider, model, user and tags, which select the budgets."""
    is_cached: bool
    costs: tuple[Decimal | None, Decimal | None, Decimal | None]
    """The minimum, likely and maximum cost in USD. Each is None if the price is unknown."""
    tokens: int = 0
    is_exact: bool = True
    """True if the tokens are counted, not estimated."""
    characters: int = 0
    """The characters to be spoken, without characters of cached speech."""
