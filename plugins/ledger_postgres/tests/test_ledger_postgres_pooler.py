"""The ledger `postgres` behind a real transaction pooler: each statement may meet another connection."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmcore.support.ledger_rows import ReportQuery
from llmcore.support.ledger_values import Reserved
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.pgbouncer import PgBouncer, find_pgbouncer
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import Opener, T, make_request, read, settle

url, opener = ledgers.shared_url, ledgers.opener


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
    url: str, pooler: PgBouncer, opener: Opener, lease: float, limit: int
) -> None:
    address = Secret(pooler.make_url(url))
    clients = [  # up to twelve connections share two
        opener(url=address, lease=Duration(lease), heartbeat=Duration(0.1)) for _ in range(3)
    ]
    numbers = itertools.count()

    def ask(ledger: PostgresLedger) -> int:
        request = make_request(f"key {next(numbers)}", 10, limit)
        answer = ledger.reserve(request, T)
        if not isinstance(answer, Reserved):
            return 0
        settle(ledger, request, answer, 10)
        return 10

    with ThreadPoolExecutor(12) as pool:
        spent = sum(pool.map(ask, clients * 50))
    for ledger in clients:
        ledger.flush(T)
    expected = min(limit, 150 * 10)
    assert (read(clients[0]), spent) == ((expected, 0), expected)
    (total,) = clients[1].aggregate(ReportQuery(dimensions=("total",)), T)
    assert (total.requests, total.cost) == (expected // 10, expected)
