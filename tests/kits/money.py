"""Calls with a price: each answer of the tests' own plugin costs exactly $0.0125."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import llmcore
from llmcore.ledger.report import UsageRow

EACH: Final = Decimal("0.0125")
"""USD: four tokens, as many as `max_tokens` allows."""

ASK: Final[dict[str, Any]] = {"cache": False, "max_tokens": 4}


def make_config(folder: Path, **budget: Any) -> dict[str, Any]:
    """Return a configuration with a ledger in *folder* and a budget of $1.00, which *budget* can override."""
    return {
        "llm": {"provider": "scripted"},
        "cache": {"provider": "memory"},
        "prices": {"scripted:default": {"input": 0, "output": "3125"}},
        "budget": {"limit": "1.00 USD", **budget},
        "ledger": {"path": str(folder / "ledger.sqlite3")},
    }


def sum_ledger(core: llmcore.Core) -> UsageRow:
    """Return the sum of everything in the ledger."""
    return core.usage.by("total")[0]
