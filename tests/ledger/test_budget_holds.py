"""A budget of $1.00 allows exactly 80 calls of $0.0125: in threads, tasks, streams, and four processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BudgetExceeded
from tests.conftest import FIXTURES
from tests.kits.money import ASK, EACH, make_config, sum_ledger

AFFORDED = 80


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return a configuration with the ledger that the parameter names."""
    settings = make_config(tmp_path)
    if request.param == "postgres":
        url = request.getfixturevalue("llmcore_postgres").create_database()
        settings["ledger"] |= {"provider": "postgres", "postgres": {"url": url}}
    return settings


@pytest.fixture
def core(scripted: Any, settings: dict[str, Any]) -> llmcore.Core:
    del scripted
    return llmcore.load(settings)


CASES = pytest.mark.parametrize(
    ("settings", "count"), [("sqlite", 200), ("sqlite", 2000), ("postgres", 200)], indirect=["settings"]
)


def is_allowed(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except BudgetExceeded:
        return False
    return True


async def is_allowed_async(ask: Any) -> bool:
    try:
        await ask
    except BudgetExceeded:
        return False
    return True


@CASES
def test_threads_spend_all_of_it_and_no_more(core: llmcore.Core, count: int) -> None:
    with ThreadPoolExecutor(200) as pool:
        answered = list(pool.map(lambda n: is_allowed(lambda: core.llm.chat(f"{n}", **ASK)), range(count)))
    assert sum(answered) == AFFORDED
    assert sum_ledger(core).cost == Decimal(1)


@CASES
def test_tasks_spend_all_of_it_and_no_more(core: llmcore.Core, count: int) -> None:
    async def main() -> list[bool]:
        return await asyncio.gather(*(is_allowed_async(core.llm.achat(f"{n}", **ASK)) for n in range(count)))

    assert sum(asyncio.run(main())) == AFFORDED
    assert sum_ledger(core).cost == Decimal(1)


@CASES
def test_streams_spend_all_of_it_and_no_more(core: llmcore.Core, count: int) -> None:
    with ThreadPoolExecutor(200) as pool:
        answered = list(
            pool.map(lambda n: is_allowed(lambda: list(core.llm.stream(f"{n}", **ASK))), range(count))
        )
    assert sum(answered) == AFFORDED
    assert sum_ledger(core).cost == Decimal(1)


@pytest.mark.parametrize("settings", ["sqlite", "postgres"], indirect=True)
def test_the_unspent_rest_is_less_than_one_maximum(core: llmcore.Core) -> None:
    """The maximum is three times the real cost: near the limit calls wait for each other, and less than one maximum remains."""
    options = {**ASK, "max_tokens": 12}
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: is_allowed(lambda: core.llm.chat(f"{n}", **options)), range(200)))
    assert Decimal(1) - 3 * EACH < sum_ledger(core).cost <= Decimal(1)


PROGRAM = """
import json, sys, llmcore
from concurrent.futures import ThreadPoolExecutor
from llmcore.errors import BudgetExceeded

core = llmcore.load(json.loads(sys.argv[1]))

def ask(n):
    try:
        core.llm.chat(str(n), cache=False, max_tokens=4)
    except BudgetExceeded:
        return 0
    return 1

with ThreadPoolExecutor(50) as pool:
    print(sum(pool.map(ask, range(int(sys.argv[2])))))
"""


@CASES
def test_four_processes_spend_all_of_it_and_no_more(
    core: llmcore.Core, settings: dict[str, Any], count: int
) -> None:
    env = {**os.environ, "PYTHONPATH": str(FIXTURES / "scripted")}
    arguments = [sys.executable, "-c", PROGRAM, json.dumps(settings), str(count // 4)]
    running = [subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sum(int(process.communicate(timeout=90)[0]) for process in running) == AFFORDED
    assert sum_ledger(core).cost == Decimal(1)


def test_a_refusal_names_the_budget_and_when_it_resets(scripted: Any, tmp_path: Path) -> None:
    del scripted
    core = llmcore.load(make_config(tmp_path, limit="0.02 USD", per="day"))
    core.llm.chat("one", **ASK)
    with pytest.raises(BudgetExceeded) as caught:
        core.llm.chat("two", **ASK)
    error = caught.value
    assert (error.budget, error.limit, error.spent, error.reserved) == (
        "day",
        Decimal("0.02"),
        EACH,
        Decimal(0),
    )
    assert error.resets_at is not None
    assert error.resets_at.endswith("T00:00:00Z")
    assert "up to $0.0125" in error.message
    assert "$0.0075 left of $0.02" in error.message


def test_a_refused_call_is_never_sent(scripted: Any, tmp_path: Path) -> None:
    core = llmcore.load(make_config(tmp_path, limit="0.01 USD"))
    before = len(scripted.requests)
    with pytest.raises(BudgetExceeded):
        core.llm.chat("one", **ASK)
    assert len(scripted.requests) == before
    assert core.usage.by("total") == []
