"""A ledger is copied into another one: whatever happens between two migrations, each request counts once."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import LedgerError
from llmcore.support.ledger_owners import make_key, make_owner
from llmcore.support.ledger_rows import RowQuery
from llmcore.support.ledger_values import Charge, Outcome, Reserved, ReserveRequest, Settlement

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


def test_requests_in_a_queue_of_a_vendor_move_and_can_be_settled_there(scripted: Any, tmp_path: Path) -> None:
    del scripted
    owner = make_owner("run", time.time() + 3600)
    charge = Charge(kind="llm", provider="scripted", model="default", call="item-1", tags=("x",), owner=owner)
    request = ReserveRequest(key=make_key(owner, "item-1"), charge=charge, at=time.time(), maximum=700)
    with open_core(tmp_path / "source") as source, open_core(tmp_path / "target") as target:
        old, new = source.backend("ledger").provider, target.backend("ledger").provider
        source.llm.chat("done", **ASK)
        assert isinstance(old.reserve(request, 60.0), Reserved)
        copied = source.usage.migrate(new)
        assert (copied.rows, copied.deferred) == (1, 1)
        again = source.usage.migrate(new)
        assert (again.rows, again.deferred) == (0, 0)
        assert [row.state for row in old.iterate_rows(RowQuery(), 60.0)] == ["done"]
        (moved,) = new.iterate_rows(RowQuery(states=("open",)), 60.0)
        assert (moved.call, moved.reserved, moved.tags, moved.owner) == ("item-1", 700, ("x",), owner)
        new.settle([Settlement(request, moved.id, moved.at, Outcome(cost=Decimal("0.0000005")))], 60.0)
        assert read_spent(target) == {COST + Decimal("0.0000005")}
        assert {budget.reserved for budget in source.usage.budgets()} == {0}


def test_requests_of_a_process_stop_a_migration(scripted: Any, tmp_path: Path) -> None:
    del scripted
    charge = Charge(kind="llm", provider="scripted", model="default", call="c")
    request = ReserveRequest(key="key", charge=charge, at=time.time(), maximum=700)
    with open_core(tmp_path / "source") as source, open_core(tmp_path / "target") as target:
        source.backend("ledger").provider.prepare(60.0)
        source.backend("ledger").provider.reserve(request, 60.0)
        with pytest.raises(LedgerError, match=r"1 requests of .* are in progress") as caught:
            source.usage.migrate(target.backend("ledger").provider)
        assert caught.value.fix == "llmcore usage open"
