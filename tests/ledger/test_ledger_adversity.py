"""The ledger under adverse conditions: garbage collection, concurrent threads and processes, a provider that fails to count."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.builtin.options import SqliteOptions
from llmcore.builtin.sqlite_ledger.owners import Owners
from llmcore.builtin.sqlite_ledger.provider import SqliteLedger
from llmcore.calls.drivers import run
from llmcore.config.money import LedgerSettings
from llmcore.ledger.hits import Hits
from llmcore.ledger.spending import Spending
from llmcore.support.ledger_rows import RowQuery
from llmcore.support.ledger_values import Charge, Outcome
from llmcore.types import Delta, Reply
from tests.kits.money import ASK, EACH, make_config
from tests.kits.waiting import wait_until


@pytest.fixture
def core(scripted: Any, tmp_path: Path) -> llmcore.Core:
    del scripted
    return llmcore.load(make_config(tmp_path, limit=100))


def test_a_stream_that_is_garbage_collected_during_a_commit_is_booked(
    core: llmcore.Core, scripted: Any
) -> None:
    scripted.script[:] = [[Delta(text="one "), Delta(text="two "), Delta(finish_reason="stop")]]
    streams = [core.llm.stream("one", **ASK)]
    next(streams[0])

    def collect(_: object) -> None:
        streams.clear()
        gc.collect()

    thread = threading.Thread(target=get_sqlite(core._spending).writer.run, args=(collect,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "a deadlock"
    (row,) = core.usage.export()
    assert (row["state"], row["cost"], row["uncertain"]) == ("failed", "0.0125", 1)
    assert core.usage.budgets()[0].reserved == 0


def test_threads_that_start_at_once_share_one_owner(tmp_path: Path) -> None:
    for turn in range(20):
        owners, together = Owners(tmp_path / str(turn)), threading.Barrier(16)

        def read_name(_: int, owners: Owners = owners, together: threading.Barrier = together) -> str:
            together.wait()
            return owners.get_own_name()

        with ThreadPoolExecutor(16) as pool:
            names = set(pool.map(read_name, range(16)))
        assert len(names) == 1
        assert not Owners(tmp_path / str(turn)).is_dead(names.pop())
        owners.close()


@pytest.mark.parametrize("method", ["count_tokens", "most_usage"])
def test_a_provider_that_fails_to_count_does_not_fail_the_call(
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


def test_a_higher_limit_has_its_own_alerts(scripted: Any, tmp_path: Path) -> None:
    settings = make_config(tmp_path, limit="0.0125 USD", alert_at=[1.0]) | {
        "observers": {"use": ["listener"]}
    }
    scripted.alerts.clear()
    with llmcore.load(settings) as core:
        core.llm.chat("one", **ASK)
    settings["budget"] = {"limit": "0.05 USD", "alert_at": [0.5, 1.0]}
    with llmcore.load(settings) as core:
        core.llm.chat("two", **ASK)
        core.llm.chat("three", **ASK)
    alerts = [(event.fraction, event.limit, event.spent) for event in scripted.alerts]
    assert alerts == [(1.0, EACH, EACH), (0.5, Decimal("0.05"), 2 * EACH)]


def test_an_export_is_lazy(core: llmcore.Core) -> None:
    for n in range(3):
        core.llm.chat(f"{n}", **ASK)
    rows = core.usage.export()
    first = next(rows)
    core.llm.chat("meanwhile", **ASK)
    rows.close()
    assert first["state"] == "done"
    assert len(list(core.usage.export())) == 4


def test_a_ctrl_c_in_a_commit_does_not_affect_other_threads(core: llmcore.Core) -> None:
    ledger = get_sqlite(core._spending)
    signals = [KeyboardInterrupt()]

    def interrupt(_: object) -> None:
        while signals:
            raise signals.pop()

    with ThreadPoolExecutor(1) as pool:
        with ledger.database.lock:
            theirs = pool.submit(ledger.writer.run, lambda _: "done")
            while not ledger.writer._waiting:
                pass
            with pytest.raises(KeyboardInterrupt):
                ledger.writer.run(interrupt)
        assert theirs.result(60) == "done"


def test_a_reservation_that_was_rolled_back_closes_no_other_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ours, theirs = (
        Spending(
            partial(SqliteLedger, SqliteOptions(path=path)),
            LedgerSettings(str(path), "normal", enabled=True),
            (),
            hits=Hits(None),
            clock=lambda: 1e9,
        )
        for _ in range(2)
    )
    charge, quote = Charge(kind="llm", provider="p", model="m", call="c"), Nothing()
    ours.refresh()
    database = get_sqlite(ours).database
    with database.lock:
        database.connect(timeout_s=1.0).set_commit_hook(lambda: True)  # refuses every commit
    ours.is_prepared = True
    rolled_back = run(ours.reserve(charge, quote, lambda: 10.0))
    with database.lock:
        database.connect(timeout_s=1.0).set_commit_hook(None)
    run(theirs.reserve(charge, quote, lambda: 10.0))
    run(ours.settle(rolled_back, Outcome(cost=Decimal(1))))
    assert [row.state for row in ours.read("iterate_rows", RowQuery())] == ["open"]
    run(ours.shut_down())
    run(theirs.shut_down())


def get_sqlite(spending: Spending) -> SqliteLedger:
    ledger = spending.operations.provider
    assert isinstance(ledger, SqliteLedger)
    return ledger


class Nothing:
    """A quote of nothing."""

    def compute_maximum(self, *, exact: bool) -> Decimal:
        del exact
        return Decimal(0)

    def find_fix(self, left: Decimal) -> None:
        """Return None: nothing costs less."""
        del left


OPEN = Path("/proc/self/fd")
HOLD = """
import sqlite3, sys

db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("CREATE TABLE theirs (x)")
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not OPEN.exists(), reason="this system does not show which files are open")
def test_a_call_waits_for_another_process_that_creates_the_ledger(core: llmcore.Core, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(lambda: core.llm.chat("one", **ASK))
            wait_until(
                lambda: call.done() or any(os.path.realpath(fd) == str(ledger) for fd in OPEN.iterdir())
            )
            holder.communicate("go on\n")
            assert call.result(60).text


def test_waiting_rows_that_cannot_be_read_fail_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    (tmp_path / "ledger.sqlite3.hits.0").mkdir()
    config = {
        "llm": {"provider": "echo"},
        "ledger": {"path": str(ledger)},
        "budget": {"limit": "1 USD", "per": "day"},
    }
    with caplog.at_level("WARNING", "llmcore"), llmcore.load(config) as core:
        for number in range(3):
            assert core.llm.chat(f"Hello {number}").text
        assert core.usage.by("total")[0].requests == 3
    assert "ledger.sqlite3.hits.0 were not imported" in caplog.text
