"""A Core on the ledger `postgres`: during an outage of the server, and after a migration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore.errors import BudgetError
from llmcore_testing.postgres_server import PostgresServer


def test_calls_go_on_without_the_server_and_are_handed_in_later(
    llmcore_postgres: PostgresServer, scripted: Any, tmp_path: Path
) -> None:
    del scripted
    server = llmcore_postgres
    settings = {
        "llm": {"provider": "scripted"},
        "cache": {"provider": "memory"},
        "prices": {"scripted:default": {"input": 0, "output": "3125"}},
        "ledger": {
            "provider": "postgres",
            "path": str(tmp_path / "local"),
            "postgres": {"url": server.create_database(), "connect_timeout": "10s"},
        },
    }
    ask: dict[str, Any] = {"cache": False, "max_tokens": 4}
    with llmcore.load(settings) as core:
        core.llm.chat("before", **ask)
        server.kill()
        try:
            assert core.llm.chat("during", **ask).text
            with llmcore.load({**settings, "budget": {"limit": "1 USD"}}) as strict:
                with pytest.raises(BudgetError) as caught:
                    strict.llm.chat("refused", timeout="2s", **ask)
                assert (caught.value.code, caught.value.fix) == ("LC603", "llmcore doctor")
        finally:
            server.start()
        ends = time.monotonic() + 60
        while len(list(core.usage.export())) < 2 and time.monotonic() < ends:
            time.sleep(0.05)
        assert [row["cost"] for row in core.usage.export()] == ["0.0125", "0.0125"]
        assert len({row["call"] for row in core.usage.export()}) == 2


def test_keys_are_the_first_use_of_a_new_database(llmcore_postgres: PostgresServer, tmp_path: Path) -> None:
    def load() -> llmcore.Core:
        postgres = {"url": url, "connect_timeout": "60s"}
        ledger = {"provider": "postgres", "path": str(tmp_path / "local"), "postgres": postgres}
        return llmcore.load({"llm": {"provider": "echo"}, "ledger": ledger})

    url = llmcore_postgres.create_database()
    with load() as core:
        assert not core.keys.has_keys()
    url = llmcore_postgres.create_database()
    with load() as core:
        _, text = core.keys.create("ann")
        assert core.keys.find(text) is not None


def test_a_ledger_is_migrated_with_its_budgets_and_keys(
    llmcore_postgres: PostgresServer, scripted: Any, tmp_path: Path
) -> None:
    del scripted
    url = llmcore_postgres.create_database()
    settings: dict[str, Any] = {
        "llm": {"provider": "scripted"},
        "cache": {"provider": "memory"},
        "prices": {"scripted:default": {"input": 0, "output": "3125"}},
        "budget": {"limit": "1 USD"},
        "ledger": {"path": str(tmp_path / "ledger.sqlite3"), "postgres": {"url": url}},
    }
    with llmcore.load(settings) as core:
        core.keys.create("ann")
        core.llm.chat("pruned", cache=False, max_tokens=4)
        core.usage.prune(time.time() + 60)
        core.llm.chat("kept", cache=False, max_tokens=4, tags="x")
        target = core.backend("ledger", "postgres").provider
        copied = [core.usage.migrate(target) for _ in range(2)]
        assert [(each.rows, each.keys, bool(each.budgets)) for each in copied] == [
            (2, 1, False),
            (0, 0, False),
        ]
        before = core.usage.budgets()
    settings["ledger"]["provider"] = "postgres"
    with llmcore.load(settings) as core:
        assert core.usage.budgets() == before
        assert [row["tags"] for row in core.usage.export()] == [[], ["x"]]
        assert [key.name for key in core.keys.list_keys()] == ["ann"]


def test_rows_that_wait_for_a_server_are_not_taken_by_another_ledger(scripted: Any, tmp_path: Path) -> None:
    del scripted
    settings: dict[str, Any] = {"llm": {"provider": "scripted"}, "cache": {"provider": "memory"}}
    path = str(tmp_path / "ledger.sqlite3")
    for name in ("one", "two"):
        away = {"url": f"postgresql://ann:secret@127.0.0.1:1/{name}"}
        with llmcore.load(
            {**settings, "ledger": {"provider": "postgres", "path": path, "postgres": away}}
        ) as core:
            core.llm.chat("away", cache=False, max_tokens=4)
    with llmcore.load({**settings, "ledger": {"path": path}}) as core:
        core.llm.chat("own", cache=False, max_tokens=4)
        assert len(list(core.usage.export())) == 1
    waiting = [each.name for each in tmp_path.iterdir() if ".hits" in each.name]
    assert len(waiting) == 2
    assert not [name for name in waiting if "secret" in name]
