"""Speech is paid for in characters, under the same budgets and in the same ledger as chats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BudgetExceeded


def test_a_budget_holds_for_characters_too_and_each_piece_is_a_row(speaker: Any, tmp_path: Path) -> None:
    prices = {"speaker:m1": {"input": 0, "output": 0, "characters": 1000}}
    ledger = {"path": str(tmp_path / "ledger.sqlite3")}
    core = llmcore.load(
        {
            "voice": {"provider": "speaker"},
            "cache": {"provider": "memory"},
            "prices": prices,
            "budget": {"limit": "0.01 USD"},
            "ledger": ledger,
        }
    )
    core.voice.synthesize("Hello.", user="ann", tags="greeting")
    before = len(speaker.requests)
    with pytest.raises(BudgetExceeded):
        core.voice.synthesize("Hello there, whoever you are.")
    assert len(speaker.requests) == before
    core.voice.synthesize("Hello.")
    rows = list(core.usage.export())
    assert [(row["kind"], row["state"], row["cost"], row["characters"], row["user"]) for row in rows] == [
        ("voice", "done", "0.006", 6, "ann"),
        ("voice", "hit", "0", 0, None),
    ]
    (row,) = core.usage.by("kind")
    assert (row.name, row.requests, row.cached, row.characters) == ("voice", 1, 1, 6)
