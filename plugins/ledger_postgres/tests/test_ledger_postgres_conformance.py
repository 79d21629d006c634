"""The ledger `postgres` under the kit of ledgers, on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing import LedgerConformance
from llmcore_testing.postgres_server import PostgresServer, find_postgres

pytestmark = pytest.mark.skipif(find_postgres() is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer.in_reachable_folder() as server:
        yield server


class TestPostgresLedger(LedgerConformance):
    @pytest.fixture
    def url(self, server: PostgresServer) -> str:
        return server.create_database()

    @pytest.fixture
    def opener(self, url: str) -> Callable[[], PostgresLedger]:
        options = PostgresOptions(url=Secret(url), heartbeat=Duration(0.2), silence=Duration(2.0))
        return lambda: PostgresLedger(options)

    @pytest.fixture
    def provider(self, opener: Callable[[], PostgresLedger]) -> PostgresLedger:
        return opener()
