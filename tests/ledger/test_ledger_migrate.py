"""A ledger is copied into another one: whatever happens between two migrations, each request counts once."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore

ASK: dict[str, Any] = {"cache": False, "max_tokens": 4}
COST = Decimal("0.0125")


def open_core(path: Path) -> llmcore.Core:
    return llmcore.load(
        {
            "llm": {"provider": "scripted"},
            "cache": {"provider": "memory"},
            "prices": {"scripted:default": {"input": 0, "output": "3125"}},
            "budget": {"limit": "10 USD"},
            "ledger": {"path": str(path)},
        }
    )


def migrate(source: llmcore.Core, target: llmcore.Core) -> tuple[int, int]:
    copied = source.usage.migrate(target.backend("ledger").provider)
    return copied.rows, copied.budgets


def read_spent(core: llmcore.Core) -> set[Decimal]:
    return {budget.spent for budget in core.usage.budgets()}


@pytest.mark.parametrize("prunes", [False, True], ids=["growing", "pruned"])
def test_a_second_migration_copies_only_new_rows(scripted: Any, tmp_path: Path, *, prunes: bool) -> None:
    del scripted
    with open_core(tmp_path / "source") as source, open_core(tmp_path / "target") as target:
        for _ in range(3):
            source.llm.chat("old", **ASK)
        assert migrate(source, target) == (3, 0)
        if prunes:
            source.usage.prune(time.time() + 60)
        for _ in range(50):
            source.llm.chat("new", **ASK)
        assert migrate(source, target) == (50, 0)
        assert migrate(source, target) == (0, 0)
        assert len(list(target.usage.export())) == 53
        assert read_spent(target) == read_spent(source) == {53 * COST}


def test_sums_of_pruned_rows_are_copied_once(scripted: Any, tmp_path: Path) -> None:
    del scripted
    with open_core(tmp_path / "source") as source, open_core(tmp_path / "target") as target:
        for _ in range(3):
            target.llm.chat("own", **ASK)
        source.llm.chat("pruned", **ASK)
        source.usage.prune(time.time() + 60)
        source.llm.chat("kept", **ASK)
        assert migrate(source, target) == (2, 0)
        source.usage.prune(time.time() + 60)
        assert migrate(source, target) == (0, 0)
        assert read_spent(target) == {5 * COST}
        assert target.usage.by("total")[0].requests == 5


def test_rows_that_were_pruned_between_two_migrations_are_copied(scripted: Any, tmp_path: Path) -> None:
    del scripted
    with open_core(tmp_path / "source") as source, open_core(tmp_path / "target") as target:
        source.llm.chat("copied as a row", **ASK)
        assert migrate(source, target) == (1, 0)
        source.llm.chat("copied as a part of a sum", **ASK)
        source.usage.prune(time.time() + 60)
        for copied in (1, 0):
            assert migrate(source, target) == (copied, 0)
            assert read_spent(target) == {2 * COST}
            assert target.usage.by("total")[0].requests == 2
