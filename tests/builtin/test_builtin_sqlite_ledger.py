"""The ledger `sqlite` under the kit of ledgers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.builtin.options import SqliteOptions
from llmcore.builtin.sqlite_ledger.provider import SqliteLedger
from llmcore_testing import LedgerConformance


class TestSqliteLedger(LedgerConformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> SqliteLedger:
        return SqliteLedger(SqliteOptions(path=tmp_path / "ledger.sqlite3"))

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Callable[[], SqliteLedger]:
        return lambda: SqliteLedger(SqliteOptions(path=tmp_path / "ledger.sqlite3"))
