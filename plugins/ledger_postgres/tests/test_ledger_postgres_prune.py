"""Pruning on PostgreSQL: reservations do not wait for it, and each day is a transaction of its own."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from llmcore.support.ledger_rows import LedgerRow, ReportQuery
from llmcore.support.ledger_values import Reserved, ReserveRequest
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing import TcpProxy
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import Opener, T, make_request, read, settle, warm
from tests.kits.waiting import wait_until

DAY_S = 86400
url, opener = ledgers.shared_url, ledgers.opener
OPTIONS = {"heartbeat": Duration(600.0), "silence": Duration(2400.0)}
SUMS = "SELECT count(*) FROM llmcore.calls WHERE attempt = -1"


@pytest.fixture
def ledger(opener: Opener) -> PostgresLedger:
    """Open a ledger with rows of two days."""
    ledger = opener()
    now = time.time()
    rows = [
        LedgerRow(at=now - days * DAY_S, state="done", kind="llm", provider="p", model="a", call=f"{days}")
        for days in (3, 2)
    ]
    ledger.record("rows", rows, [], T)
    return ledger


def test_a_prune_that_waits_for_a_lock_holds_up_no_reservation(url: str, ledger: PostgresLedger) -> None:
    assert isinstance(ledger.reserve(make_request("first", 1), T), Reserved)
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    with (
        psycopg.connect(url) as holder,
        psycopg.connect(url, autocommit=True) as looker,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute(
            "SELECT pg_advisory_xact_lock_shared(hashtext('llmcore.counters'))"
        )  # as a reservation does
        pruned = pool.submit(ledger.prune, time.time(), 10 * T)
        wait_until(lambda: looker.execute(waiting).fetchone() is not None)
        assert isinstance(ledger.reserve(make_request("second", 1), T), Reserved)
        assert not pruned.done()
        holder.commit()
        assert pruned.result(T) == 2


def test_each_day_is_pruned_in_a_transaction_of_its_own(
    url: str, ledger: PostgresLedger, llmcore_postgres: PostgresServer
) -> None:
    with psycopg.connect(url) as holder, ThreadPoolExecutor(1) as pool:
        (part,) = holder.execute(
            "SELECT tableoid::regclass::text FROM llmcore.calls WHERE call = '2'"
        ).fetchone() or ("",)
        holder.commit()  # the query has locked every partition
        holder.execute(f"SELECT 1 FROM {part} FOR UPDATE")  # noqa: S608 - a name of the server
        pruned = pool.submit(ledger.prune, time.time(), 10 * T)
        wait_until(lambda: llmcore_postgres.execute(SUMS, url=url) == [("1",)])
        assert not pruned.done()
        holder.commit()
        assert pruned.result(T) == 2
    assert llmcore_postgres.execute(SUMS, url=url) == [("2",)]


def test_rows_that_were_pruned_before_their_report_is_repeated_are_counted_once(
    url: str, opener: Opener, llmcore_postgres: PostgresServer
) -> None:
    numbers = itertools.count()

    def make() -> ReserveRequest:
        return make_request(f"{next(numbers)}", 20, limit=10**9)

    sent = "SELECT 1 FROM llmcore.calls WHERE cost = 5"
    with (
        TcpProxy(url) as proxy,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url, autocommit=True) as looker,
    ):
        address = Secret(url.replace(f"127.0.0.1:{llmcore_postgres.port}", proxy.address))
        ledger = opener(url=address, lease=Duration(600.0))
        other = opener()
        spent = warm(ledger, make)
        request = make()
        settle(ledger, request, ledger.reserve(request, T), 5)
        proxy.hold()
        report = pool.submit(ledger.flush, T)
        wait_until(lambda: looker.execute(sent).fetchone() is not None)
        other.prune(time.time() + 60, T)
        proxy.refuse()  # the answer is lost
        proxy.heal()
        report.result()
    assert read(other) == (spent + 5, 0)
    assert sum(row.cost or 0 for row in other.aggregate(ReportQuery(dimensions=("total",)), T)) == spent + 5
