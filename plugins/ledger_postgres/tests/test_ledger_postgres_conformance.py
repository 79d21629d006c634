"""The ledger `postgres` under the kit of ledgers, on a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing import LedgerConformance
from llmcore_testing.postgres_server import PostgresServer


class TestPostgresLedger(LedgerConformance):
    @pytest.fixture
    def url(self, llmcore_postgres: PostgresServer) -> str:
        return llmcore_postgres.create_database()

    @pytest.fixture
    def opener(self, url: str) -> Callable[[], PostgresLedger]:
        options = PostgresOptions(url=Secret(url), heartbeat=Duration(0.2), silence=Duration(2.0))
        return lambda: PostgresLedger(options)

    @pytest.fixture
    def provider(self, opener: Callable[[], PostgresLedger]) -> PostgresLedger:
        return opener()
