"""The ledger `postgres` behind a real transaction pooler: each statement may meet another connection."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from llmcore.support.ledger_rows import ReportQuery
from llmcore.support.ledger_values import (
    Charge,
    Limit,
    Outcome,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.pgbouncer import PgBouncer, find_pgbouncer
from llmcore_testing.postgres_server import PostgresServer

T = 60.0
ALL = Scope("total")
NANO = Decimal(10) ** -9


@pytest.fixture
def pooler(llmcore_postgres: PostgresServer) -> Iterator[PgBouncer]:
    if find_pgbouncer() is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    with tempfile.TemporaryDirectory(prefix="llmcore-pgbouncer-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with PgBouncer(llmcore_postgres, Path(name)) as pooler:
            yield pooler


@pytest.mark.parametrize(("lease", "limit"), [(0.0, 1000), (0.5, 10**9)], ids=["plain", "leases"])
def test_budgets_hold_behind_a_transaction_pooler(
    llmcore_postgres: PostgresServer, pooler: PgBouncer, lease: float, limit: int
) -> None:
    options = PostgresOptions(
        url=Secret(pooler.make_url(llmcore_postgres.create_database())),
        lease=Duration(lease),
        heartbeat=Duration(0.1),
        connect_timeout=Duration(10.0),
    )
    ledgers = [PostgresLedger(options) for _ in range(3)]  # up to twelve connections share two
    numbers = itertools.count()

    def ask(ledger: PostgresLedger) -> int:
        request = ReserveRequest(
            key=f"key {next(numbers)}",
            charge=Charge(kind="llm", provider="p", model="a", call="c"),
            at=time.time(),
            maximum=10,
            limits=[Limit(ALL, limit, True)],  # noqa: FBT003 - it refuses
        )
        answer = ledger.reserve(request, T)
        if not isinstance(answer, Reserved):
            return 0
        ledger.settle([Settlement(request, answer.row, answer.at, Outcome(cost=10 * NANO))], T)
        return 10

    for ledger in ledgers:
        ledger.prepare(T)
    try:
        with ThreadPoolExecutor(12) as pool:
            spent = sum(pool.map(ask, ledgers * 50))
        for ledger in ledgers:
            ledger.flush(T)
        (counter,) = ledgers[0].read_budgets([ALL], time.time(), T)
        (total,) = ledgers[1].aggregate(ReportQuery(dimensions=("total",)), T)
    finally:
        for ledger in ledgers:
            ledger.close()
    expected = min(limit, 150 * 10)
    assert (counter.spent, counter.reserved, spent) == (expected, 0, expected)
    assert (total.requests, total.cost) == (expected // 10, expected)
