"""Speech is paid for in characters, under the same budgets and in the same ledger as chats."""

from __future__ import annotations

import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import AuthenticationFailed, BudgetExceeded, Timeout


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
        core.voice.synthesize("Hello there, how are you all?")
    assert len(speaker.requests) == before
    core.voice.synthesize("Hello.")
    rows = list(core.usage.export())
    assert [(row["kind"], row["state"], row["cost"], row["characters"], row["user"]) for row in rows] == [
        ("voice", "done", "0.006", 6, "ann"),
        ("voice", "hit", "0", 0, None),
    ]
    (row,) = core.usage.by("kind")
    assert (row.name, row.requests, row.cached, row.characters) == ("voice", 1, 1, 6)


def _load_core(tmp_path: Path, budget: dict[str, Any], price: int | None = 1000, **more: Any) -> llmcore.Core:
    prices = {} if price is None else {"speaker:m1": {"input": 0, "output": 0, "characters": price}}
    return llmcore.load(
        {
            "voice": {"provider": "speaker"},
            "cache": {"provider": "memory"},
            "prices": prices,
            "budget": budget,
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
            **more,
        }
    )


def test_a_budget_may_count_characters_of_any_price(speaker: Any, tmp_path: Path) -> None:
    core = _load_core(tmp_path, {"limit": "20 characters", "per": "month"}, price=None)
    core.voice.synthesize("Hello there.")
    with pytest.raises(BudgetExceeded) as refused:
        core.voice.synthesize("Hello again.")
    error = refused.value
    assert (error.unit, error.limit, error.spent, error.reserved) == (
        "characters",
        Decimal(20),
        Decimal(12),
        Decimal(0),
    )
    assert error.message == (
        "the call synthesizes 12 characters, but the budget `month characters` has 8 characters left of 20 characters"
        " (12 characters spent)"
    )
    core.voice.synthesize("Hello.")
    assert len(speaker.requests) == 2
    (state,) = core.usage.budgets()
    assert (state.name, state.unit, state.limit, state.spent) == (
        "month characters",
        "characters",
        Decimal(20),
        Decimal(18),
    )


def test_a_new_budget_counts_characters_that_were_spoken_before(speaker: Any, tmp_path: Path) -> None:
    del speaker
    _load_core(tmp_path, {"limit": "1 USD"}).voice.synthesize("Hello there.")
    core = _load_core(tmp_path, {"limit": "20 characters"})
    with pytest.raises(BudgetExceeded, match="12 characters spent"):
        core.voice.synthesize("Hello again.")


def test_characters_whose_request_was_refused_are_free_again(speaker: Any, tmp_path: Path) -> None:
    core = _load_core(tmp_path, {"limit": "20 characters"})
    speaker.script.append(AuthenticationFailed("no", status=401))
    with pytest.raises(AuthenticationFailed):
        core.voice.synthesize("Hello there.")
    assert core.voice.synthesize("Hello there.").characters == 12


@pytest.mark.parametrize("cache", [True, "refresh"])
@pytest.mark.parametrize("limit", ["0.03 USD", "30 characters"])
def test_a_text_that_does_not_fit_is_refused_before_its_first_sentence(
    speaker: Any, tmp_path: Path, limit: str, cache: Any
) -> None:
    core = _load_core(tmp_path, {"limit": limit})
    text = "Hello there. Hello again. Goodbye."
    with pytest.raises(BudgetExceeded) as refused:
        core.voice.synthesize(text, cache=cache)
    assert refused.value.expected == "a shorter text"
    with pytest.raises(BudgetExceeded):
        list(core.voice.stream(text, cache=cache))
    assert speaker.requests == []
    assert core.voice.synthesize("Hello there. Hello there. Hello again.").billed_characters == 24


def test_paid_pieces_of_a_failed_text_are_in_the_totals(speaker: Any, tmp_path: Path) -> None:
    core = _load_core(tmp_path, {"limit": "1 USD"})
    speaker.script += [None, AuthenticationFailed("no", status=401)]
    with pytest.raises(AuthenticationFailed):
        core.voice.synthesize("Hello there. Hello again.")
    totals = core.usage.totals()
    assert (totals.calls, totals.failures, totals.characters, str(totals.cost)) == (0, 1, 12, "0.012")


def test_characters_with_an_unknown_outcome_stay_spent(speaker: Any, tmp_path: Path) -> None:
    core = _load_core(tmp_path, {"limit": "20 characters"}, retry={"attempts": 1})
    speaker.script.append(Timeout("no answer", sent=True))
    with pytest.raises(Timeout):
        core.voice.synthesize("Hello there.", cache=False)
    (state,) = core.usage.budgets()
    assert (state.spent, state.reserved) == (Decimal(12), Decimal(0))
    (row,) = core.usage.by("kind")
    assert row.characters == 0, "it may never have been spoken"


def test_characters_of_a_process_that_died_stay_spent(speaker: Any, tmp_path: Path) -> None:
    core = _load_core(tmp_path, {"limit": "20 characters"})
    child = os.fork()
    if not child:
        speaker.gate.append(threading.Event())
        threading.Thread(target=core.voice.synthesize, args=("Hello there.",), daemon=True).start()
        while not speaker.requests:
            threading.Event().wait(0.001)
        os._exit(0)
    os.waitpid(child, 0)
    (state,) = core.usage.budgets()
    assert (state.spent, state.reserved) == (Decimal(12), Decimal(0))
