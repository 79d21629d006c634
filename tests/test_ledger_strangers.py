"""What others do in the ledger's way: the garbage collector, threads that begin at once, a provider that cannot count."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.calls.drivers import run
from llmcore.config.money import LedgerSettings
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.hits import Hits
from llmcore.ledger.owners import Owners
from llmcore.ledger.report import exported
from llmcore.ledger.spending import Spending
from llmcore.types import Delta, Reply
from tests.kit_flights import until
from tests.kit_money import ASK, EACH, config


@pytest.fixture
def core(scripted: Any, tmp_path: Path) -> llmcore.Core:
    del scripted
    return llmcore.load(config(tmp_path, limit=100))


def test_a_stream_that_is_collected_in_the_middle_of_a_commit_is_booked(
    core: llmcore.Core, scripted: Any
) -> None:
    scripted.script[:] = [[Delta(text="one "), Delta(text="two "), Delta(finish_reason="stop")]]
    kept = [core.llm.stream("one", **ASK)]
    next(kept[0])

    def collected(_: object) -> None:
        kept.clear()
        gc.collect()

    committing = threading.Thread(
        target=core._part("spending", core._spending).do, args=(collected,), daemon=True
    )
    committing.start()
    committing.join(20)
    assert not committing.is_alive(), "it waits for itself"
    (row,) = core.usage.export()
    assert (row["state"], row["cost"], row["uncertain"]) == ("failed", "0.0125", 1)
    assert core.usage.budgets()[0].reserved == 0


def test_threads_that_begin_at_once_are_one_process(tmp_path: Path) -> None:
    for turn in range(20):
        owners, together = Owners(tmp_path / str(turn)), threading.Barrier(16)

        def named(_: int, owners: Owners = owners, together: threading.Barrier = together) -> str:
            together.wait()
            return owners.me()

        with ThreadPoolExecutor(16) as pool:
            names = set(pool.map(named, range(16)))
        assert len(names) == 1
        assert not Owners(tmp_path / str(turn)).is_dead(names.pop())
        owners.close()


@pytest.mark.parametrize("method", ["count_tokens", "most_usage"])
def test_a_provider_that_fails_to_count_costs_no_answer(
    core: llmcore.Core, scripted: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("cannot count")

    backend = core.backend("llm", "scripted")
    setattr(backend.provider, method, fails)
    scripted.script[:] = [Reply(text="an answer without usage", model="default")]
    with caplog.at_level(logging.WARNING, "llmcore"):
        assert core.llm.chat("one", **ASK).text == "an answer without usage"
    (row,) = core.usage.export()
    assert row["state"] == "done"
    assert "cannot count" in caplog.text


def test_a_higher_limit_is_told_of_anew(scripted: Any, tmp_path: Path) -> None:
    given = config(tmp_path, limit="0.0125 USD", alert_at=[1.0]) | {"observers": {"use": ["listener"]}}
    scripted.alerts.clear()
    with llmcore.load(given) as core:
        core.llm.chat("one", **ASK)
    given["budget"] = {"limit": "0.05 USD", "alert_at": [0.5, 1.0]}
    with llmcore.load(given) as core:
        core.llm.chat("two", **ASK)
        core.llm.chat("three", **ASK)
    told = [(event.fraction, event.limit, event.spent) for event in scripted.alerts]
    assert told == [(1.0, EACH, EACH), (0.5, Decimal("0.05"), 2 * EACH)]


def test_an_export_is_read_row_by_row(core: llmcore.Core) -> None:
    for n in range(3):
        core.llm.chat(f"{n}", **ASK)
    rows = core.usage.export()
    first = next(rows)
    core.llm.chat("meanwhile", **ASK)
    rows.close()
    assert first["state"] == "done"
    assert len(list(core.usage.export())) == 4


def test_a_ctrl_c_in_a_commit_loses_nothing_of_other_threads(core: llmcore.Core) -> None:
    spending = core._part("spending", core._spending)

    signals = [KeyboardInterrupt()]

    def interrupted(_: object) -> None:
        while signals:
            raise signals.pop()

    with ThreadPoolExecutor(1) as pool:
        with spending.database.lock:
            theirs = pool.submit(spending.do, lambda _: "done")
            while not spending._writer._waiting:
                pass
            with pytest.raises(KeyboardInterrupt):
                spending.do(interrupted)
        assert theirs.result(20) == "done"


def test_a_reservation_that_was_undone_closes_nobody_s_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ours, theirs = (
        Spending(LedgerSettings(str(path), "normal", enabled=True), (), hits=Hits(path), clock=lambda: 1e9)
        for _ in range(2)
    )
    charge, quote = Charge(kind="llm", provider="p", model="m", call="c"), Nothing()
    ours.settle_up()
    with ours.database.lock:
        ours.database.connection(patience_s=1.0).set_commit_hook(lambda: True)  # refuses every commit
    ours._begun = True
    undone = run(ours.reserve(charge, quote, lambda: 10.0))
    with ours.database.lock:
        ours.database.connection(patience_s=1.0).set_commit_hook(None)
    run(theirs.reserve(charge, quote, lambda: 10.0))
    run(ours.settle(undone, Outcome(cost=Decimal(1))))
    reader = ours.database.reader()
    assert [row["state"] for row in exported(reader, 0.0, 1e12)] == ["open"]
    reader.close()
    ours.close()
    theirs.close()


class Nothing:
    """A quote of nothing."""

    def most(self, *, exact: bool) -> Decimal:
        del exact
        return Decimal(0)


OPEN = Path("/proc/self/fd")
HOLDING = """
import sqlite3, sys

db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("CREATE TABLE theirs (x)")
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not OPEN.exists(), reason="this system does not show which files are open")
def test_another_process_that_begins_the_same_ledger_is_waited_for(
    core: llmcore.Core, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holding:
        assert holding.stdout
        assert holding.stdout.readline() == "held\n"
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(core.llm.chat, "one", **ASK)
            until(lambda: asked.done() or any(os.path.realpath(fd) == str(ledger) for fd in OPEN.iterdir()))
            holding.communicate("go on\n")
            assert asked.result(60).text
