"""The ledger `postgres` under the kit of ledgers, on a real server: with and without leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmcore.types import Duration, Secret
from llmcore_ledger_postgres import lease
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing import LedgerConformance
from llmcore_testing.postgres_server import PostgresServer


class TestPostgresLedger(LedgerConformance):
    lease_s = 0.0

    @pytest.fixture
    def url(self, llmcore_postgres: PostgresServer) -> str:
        return llmcore_postgres.create_database()

    @pytest.fixture
    def opener(self, url: str) -> Callable[[], PostgresLedger]:
        options = PostgresOptions(
            url=Secret(url), heartbeat=Duration(0.2), silence=Duration(2.0), lease=Duration(self.lease_s)
        )
        return lambda: PostgresLedger(options)

    @pytest.fixture
    def provider(self, opener: Callable[[], PostgresLedger]) -> PostgresLedger:
        return opener()


class TestLeasedPostgresLedger(TestPostgresLedger):
    """Every group of requests is hot."""

    lease_s = 0.5

    @pytest.fixture(autouse=True)
    def _lease_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "HOT", 1)

    @pytest.fixture(params=["async"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        return request.param
