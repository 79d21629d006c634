"""Rows of dead processes: the heartbeat of one living process settles them, without locks that hold up others."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from llmcore.support.ledger_rows import LedgerRow
from llmcore.types import Duration
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_ledger_postgres.statements import Reserve
from tests.kits import ledgers
from tests.kits.ledgers import Opener, T, make_request, settle
from tests.kits.waiting import wait_until

url, opener = ledgers.shared_url, ledgers.opener
SILENCE_S = 1000.0
OPTIONS = {"heartbeat": Duration(600.0), "silence": Duration(SILENCE_S)}
HOLDER = """
import sys, threading
from llmcore.types import Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from tests.kits.ledgers import T, make_request

ledger = PostgresLedger(PostgresOptions(url=Secret(sys.argv[1])))
ledger.prepare(T)
print(type(ledger.reserve(make_request("held", 60), T)).__name__, flush=True)
threading.Event().wait()
"""
"""A process that holds a reservation until it is killed."""


@pytest.fixture
def looker(url: str, opener: Opener) -> Iterator[psycopg.Connection[Any]]:
    opener()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def elapse(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clock of this process. Otherwise the clock stands still."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def call_once(ledger: PostgresLedger, key: str) -> None:
    """Make a call, so that the ledger begins its heartbeat."""
    request = make_request(key, 1)
    settle(ledger, request, ledger.reserve(request, T), 1)


def leave_open(
    ledger: PostgresLedger, looker: psycopg.Connection[Any], count: int = 1, name: str = "open"
) -> None:
    """Leave open rows of a dead owner."""
    Reserve(ledger).execute([make_request(f"{name} {number}", 1, 10_000) for number in range(count)], T)
    looker.execute("UPDATE llmcore.calls SET owner = 'dead' WHERE state = 'open'")


def count_open(looker: psycopg.Connection[Any]) -> int:
    ((count,),) = looker.execute("SELECT count(*) FROM llmcore.calls WHERE state = 'open'").fetchall()
    return int(count)


@pytest.mark.process
def test_rows_of_a_killed_process_are_freed_without_a_call(
    url: str, opener: Opener, looker: psycopg.Connection[Any]
) -> None:
    idle = opener(heartbeat=Duration(0.1), silence=Duration(1.0))
    call_once(idle, "first")
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True, cwd=root
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "Reserved"
        holder.kill()
    wait_until(lambda: count_open(looker) == 0)
    assert looker.execute("SELECT spent, reserved FROM llmcore.budgets").fetchall() == [(61, 0)]
    rows = looker.execute("SELECT state, cost, uncertain FROM llmcore.calls ORDER BY cost").fetchall()
    assert rows == [("done", 1, False), ("lost", 60, True)]


def test_one_of_the_living_processes_settles_rows_of_dead_ones(
    opener: Opener, looker: psycopg.Connection[Any], elapse: Callable[[float], None]
) -> None:
    first, second = sorted((opener(), opener()), key=lambda ledger: ledger.owner.name)
    for number, ledger in enumerate((first, second)):
        call_once(ledger, f"{number}")
        ledger.beat()
    leave_open(first, looker)
    for _ in range(3):
        elapse(SILENCE_S / 2)
        second.beat()
    assert count_open(looker) == 1
    looker.execute("UPDATE llmcore.owners SET seen = '-infinity' WHERE name = %s", (first.owner.name,))
    second.beat()
    assert count_open(looker) == 0


def test_rows_are_not_settled_while_their_owners_had_no_chance_to_report(
    opener: Opener, looker: psycopg.Connection[Any], elapse: Callable[[float], None]
) -> None:
    ledger = opener()
    call_once(ledger, "first")
    leave_open(ledger, looker)
    ledger.beat()
    elapse(2 * SILENCE_S)  # the server was away
    ledger.beat()
    elapse(SILENCE_S / 2)
    ledger.beat()
    assert count_open(looker) == 1
    elapse(SILENCE_S / 2)
    ledger.beat()
    assert count_open(looker) == 0


def test_a_heartbeat_does_not_wait_for_the_lock_of_an_older_day(
    url: str, opener: Opener, looker: psycopg.Connection[Any], elapse: Callable[[float], None]
) -> None:
    ledger = opener(max_connections=1)
    call_once(ledger, "first")
    row = LedgerRow(at=time.time() - 3 * 86400, state="done", kind="llm", provider="p", model="a")
    ledger.record("rows", [row], [], T)
    ((part,),) = looker.execute(
        "SELECT tableoid::regclass::text FROM llmcore.calls ORDER BY day LIMIT 1"
    ).fetchall()
    ledger.beat()
    elapse(SILENCE_S / 2)
    ledger.beat()
    for number in range(8):  # a session that has planned a statement often may plan it once for all days
        leave_open(ledger, looker, name=f"{number}")
        elapse(SILENCE_S / 2)
        with psycopg.connect(url) as pruning:
            pruning.execute(f"LOCK TABLE {part}")
            ledger.beat()
        assert count_open(looker) == 0


def test_one_process_at_a_time_searches_all_days(
    url: str, opener: Opener, looker: psycopg.Connection[Any]
) -> None:
    ledger = opener()
    call_once(ledger, "first")
    looker.execute("SELECT llmcore.make_partition(current_date - 40)")
    leave_open(ledger, looker, 2)
    looker.execute("UPDATE llmcore.calls SET day = current_date - 40 WHERE key = 'open 0'")
    with psycopg.connect(url) as searching:
        searching.execute("SELECT pg_advisory_xact_lock(hashtext('llmcore.recover'))")
        assert ledger.recover(T) == 1
    assert ledger.recover(T) == 1


def test_many_rows_are_settled_in_short_transactions(opener: Opener, looker: psycopg.Connection[Any]) -> None:
    ledger = opener()
    call_once(ledger, "first")
    leave_open(ledger, looker, 250)
    assert looker.execute("SELECT llmcore.recover('20 s', false, '60 s')").fetchall() == [(100,)]
    assert ledger.recover(T) == 150
    assert looker.execute("SELECT spent, reserved FROM llmcore.budgets").fetchall() == [(251, 0)]
