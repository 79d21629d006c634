"""A ledger that an earlier version wrote is migrated when it is opened, and loses nothing."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from tests.kits.money import make_config

VERSION_2 = Path(__file__).parents[1] / "fixtures" / "ledgers" / "version_2.sql"
"""A dump of the ledger of two calls and a hit, made by the version before the time to first token."""


@pytest.fixture
def core(scripted: Any, tmp_path: Path) -> llmcore.Core:
    del scripted
    old = sqlite3.connect(tmp_path / "ledger.sqlite3")
    old.executescript(VERSION_2.read_text())
    old.close()
    return llmcore.load(make_config(tmp_path, limit=100))


def test_the_rows_and_budgets_of_an_older_ledger_stay(core: llmcore.Core) -> None:
    (row,) = core.usage.by("total", since="2026-01-01")
    assert (row.requests, row.cached, row.cost, row.saved) == (
        2,
        1,
        Decimal("0.000033"),
        Decimal("0.000012"),
    )
    assert [each["first_token_ms"] for each in core.usage.export()] == [None] * 3
    months = [each for each in core.usage.budgets() if each.name == "month"]
    assert all(each.spent >= Decimal("0.000033") for each in months)


def test_new_calls_are_written_next_to_the_old_ones(core: llmcore.Core) -> None:
    list(core.llm.stream("one", max_tokens=4, cache=False))
    core.llm.chat("one", max_tokens=4, cache=False)
    *old, streamed, whole = core.usage.export()
    assert len(old) == 3
    assert 0 <= streamed["first_token_ms"] <= streamed["latency_ms"]
    assert whole["first_token_ms"] is None


def test_an_older_ledger_is_migrated_once(core: llmcore.Core, tmp_path: Path) -> None:
    core.llm.chat("one", max_tokens=4)
    core.close()
    again = llmcore.load(make_config(tmp_path, limit=100))
    again.llm.chat("two", max_tokens=4)
    assert len(list(again.usage.export())) == 5
