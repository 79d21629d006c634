"""Locks of the ledger `postgres`: few, and taken in one order by all transactions."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from llmcore.support.ledger_values import Reserved, ReserveRequest
from llmcore.types import Duration
from llmcore_ledger_postgres.statements import Reserve
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import Opener, T, make_request, read, settle, warm
from tests.kits.waiting import wait_until

url, opener = ledgers.shared_url, ledgers.opener
OPTIONS = {"heartbeat": Duration(600.0), "silence": Duration(3600.0)}
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
ADVISORY = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = current_database() AND locktype = 'advisory'"
NEIGHBOUR = (
    "SELECT n FROM generate_series(1, 100000) n WHERE hashtext(n::text) & 255 = hashtext('{}') & 255 LIMIT 1"
)
"""The query for a key in the bucket of another one."""
BUCKETS = 256


def ask(connection: psycopg.Connection[Any], query: str) -> int:
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])


def count_deadlocks(server: PostgresServer) -> int:
    return server.read_log().count("deadlock detected")


def make_batch(name: str, size: int) -> list[ReserveRequest]:
    return [make_request(f"{name} {number}", 1, limit=10**6) for number in range(size)]


def test_batches_that_wait_share_few_locks_and_each_request_has_one_row(url: str, opener: Opener) -> None:
    ledgers = [opener() for _ in range(12)]
    settle(ledgers[0], first := make_request("first", 1), ledgers[0].reserve(first, T), 1)
    batches = [make_batch(f"batch {number}", 100) for number in range(6)]
    with (
        ThreadPoolExecutor(12) as pool,
        psycopg.connect(url) as holder,
        psycopg.connect(url, autocommit=True) as looker,
    ):
        holder.execute("SELECT 1 FROM llmcore.budgets FOR UPDATE")
        answers = [
            pool.submit(Reserve(ledger).execute, batch, 4 * T)
            for ledger, batch in zip(ledgers, batches * 2, strict=True)  # each batch and its copy
        ]
        wait_until(lambda: ask(looker, WAITING) == len(answers))
        # each statement also has the lock that it waits for, and the one of all counters
        assert ask(looker, ADVISORY) <= BUCKETS + 2 * len(answers)
        holder.commit()
        rows = [[each.at for each in answer.result() if isinstance(each, Reserved)] for answer in answers]
        assert rows[:6] == rows[6:]
        assert {len(each) for each in rows} == {100}
        assert ask(looker, "SELECT count(*) FROM llmcore.calls WHERE state = 'open'") == 600
    assert read(ledgers[0]) == (1, 600)


def test_a_report_of_leases_locks_in_the_order_of_reservations(
    url: str, opener: Opener, llmcore_postgres: PostgresServer
) -> None:
    numbers = itertools.count()

    def make() -> ReserveRequest:
        return make_request(f"leased {next(numbers)}", 20, limit=10**9)

    ledger, other = opener(lease=Duration(600.0)), opener()
    spent = warm(ledger, make)
    unsent = make()
    reserved = ledger.reserve(unsent, T)
    assert ledger._leases is not None
    ledger._leases.report(T)  # the row is sent
    settle(ledger, unsent, reserved, None)
    before = count_deadlocks(llmcore_postgres)
    with (
        ThreadPoolExecutor(2) as pool,
        psycopg.connect(url) as holder,
        psycopg.connect(url, autocommit=True) as looker,
    ):
        number = ask(looker, NEIGHBOUR.format(unsent.key))
        neighbour = make_request(f"{number}", 1, limit=10**9)
        holder.execute("SELECT 1 FROM llmcore.budgets FOR UPDATE")
        report = pool.submit(ledger.flush, 4 * T)
        wait_until(lambda: ask(looker, WAITING) == 1)
        answer = pool.submit(other.reserve, neighbour, 4 * T)
        wait_until(lambda: ask(looker, WAITING) == 2)
        holder.commit()
        report.result()
        answer.result()
    assert count_deadlocks(llmcore_postgres) == before
    assert read(other) == (spent, 1)
