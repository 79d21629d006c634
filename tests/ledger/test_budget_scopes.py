"""Which calls a budget counts, when it starts, and what it does if a price is unknown."""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BudgetError, BudgetExceeded, PriceUnknown
from tests.kits.money import ASK, EACH, make_config, sum_ledger


@pytest.fixture
def load(scripted: Any, tmp_path: Path) -> Any:
    del scripted

    def load_changed(**changes: Any) -> llmcore.Core:
        return llmcore.load({**make_config(tmp_path), **changes})

    return load_changed


def test_a_budget_of_a_tag_counts_calls_with_that_tag(load: Any) -> None:
    core = load(budgets=[{"limit": "0.02", "tag": "nightly"}])
    core.llm.chat("one", tags="nightly", **ASK)
    with pytest.raises(BudgetExceeded, match="total tag=nightly"):
        core.llm.chat("two", tags=["nightly", "other"], **ASK)
    core.llm.chat("three", tags="other", **ASK)


def test_a_budget_of_a_user_counts_that_user(load: Any) -> None:
    core = load(budgets=[{"limit": "0.02", "user": "ann"}])
    core.llm.chat("one", user="ann", **ASK)
    with pytest.raises(BudgetExceeded, match="user=ann"):
        core.llm.chat("two", user="ann", **ASK)
    core.llm.chat("three", user="ben", **ASK)


@pytest.mark.parametrize("scope", ["scripted:default", "scripted:"])
def test_a_budget_of_a_model_or_provider_counts_it(load: Any, scope: str) -> None:
    core = load(budgets=[{"limit": "0.02", "model": scope}])
    core.llm.chat("one", **ASK)
    with pytest.raises(BudgetExceeded, match=scope):
        core.llm.chat("two", **ASK)


def test_a_budget_that_is_added_later_counts_earlier_calls(load: Any) -> None:
    with load(budget={"limit": 100, "per": "month"}) as core:
        for n in range(3):
            core.llm.chat(str(n), tags="x", **ASK)
    later = load(budgets=[{"limit": "0.05", "per": "day", "tag": "x"}])
    states = {state.name: state.spent for state in later.usage.budgets()}
    assert states["day tag=x"] == 3 * EACH
    later.llm.chat("four", tags="x", **ASK)
    with pytest.raises(BudgetExceeded):
        later.llm.chat("five", tags="x", **ASK)


def test_a_budget_counts_calls_of_applications_without_that_budget(load: Any, tmp_path: Path) -> None:
    mine = load(budget={"limit": "0.03"})
    mine.llm.chat("one", **ASK)
    others = {name: value for name, value in make_config(tmp_path).items() if name != "budget"}
    with llmcore.load(others) as other:
        other.llm.chat("two", **ASK)
    with pytest.raises(BudgetExceeded):
        mine.llm.chat("three", **ASK)


def test_a_budget_that_warns_logs_once_and_refuses_no_call(
    load: Any, caplog: pytest.LogCaptureFixture
) -> None:
    core = load(budget={"limit": "0.02", "on_exceed": "warn"})
    with caplog.at_level(logging.WARNING, "llmcore"):
        for n in range(4):
            core.llm.chat(str(n), **ASK)
    assert sum_ledger(core).cost == 4 * EACH
    assert [record.message for record in caplog.records] == [
        'budget `total` of $0.02 is exceeded; calls continue because on_exceed is "warn"'
    ]


def test_an_unknown_price_is_refused_unless_it_is_allowed(load: Any, scripted: Any) -> None:
    before = len(scripted.requests)
    with pytest.raises(PriceUnknown) as caught:
        load(prices={}).llm.chat("one", **ASK)
    assert caught.value.fix == '{"prices": {"scripted:default": {"input": 0.25, "output": 2.0}}}'
    assert len(scripted.requests) == before
    core = load(prices={}, budget={"limit": 1, "unknown_price": "allow"})
    assert core.llm.chat("two", **ASK).cost is None
    assert (sum_ledger(core).cost, sum_ledger(core).unpriced) == (Decimal(0), 1)


def test_a_call_without_an_upper_bound_is_refused(load: Any) -> None:
    with pytest.raises(BudgetError) as caught:
        load().llm.chat("one", cache=False)
    assert caught.value.code == "LC604"
    assert "max_tokens" in str(caught.value)


def test_a_cache_hit_needs_no_budget(load: Any) -> None:
    core = load(budget={"limit": "0.0125"})
    core.llm.chat("one", max_tokens=4)
    assert core.llm.chat("one", max_tokens=4).cached
    assert sum_ledger(core).cached == 1
    assert sum_ledger(core).saved == EACH
