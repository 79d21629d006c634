"""API keys: stored hashed, shared by processes, and with budgets and rate limits that hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import llmcore
from llmcore.core import Core
from llmcore.errors import BudgetExceeded, LedgerError
from llmcore_testing.simulator import Simulator


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def load(upstream: Simulator, folder: Path, budgets: list[dict[str, object]] | None = None) -> Core:
    openai = {"base_url": upstream.base_url, "api_key": "sk-test"}
    return llmcore.load(
        {
            "llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": openai},
            "ledger": {"path": str(folder / "ledger.sqlite3")},
            "budgets": budgets or [],
        }
    )


@pytest.fixture
def core(upstream: Simulator, tmp_path: Path) -> Iterator[Core]:
    with load(upstream, tmp_path) as core:
        yield core


def test_a_key_is_found_only_by_its_text(core: Core) -> None:
    assert not core.keys.has_keys()
    key, text = core.keys.create("ann", models=["fast"], requests_per_minute=3)
    assert core.keys.find(text) == key
    assert (key.name, key.models, key.requests_per_minute) == ("ann", ("fast",), 3)
    for wrong in (
        "",
        "llmcore-",
        text[:-1],
        text + "x",
        text.upper(),
        f"llmcore-{key.id}",
        f"llmcore-{key.id}-",
        "\ud800",
    ):
        assert core.keys.find(wrong) is None
    assert core.keys.list_keys() == [key]


def test_the_text_of_a_key_is_not_stored(core: Core, tmp_path: Path) -> None:
    _, text = core.keys.create("ann")
    secret = text.split("-", 2)[2].encode()
    assert not any(secret in file.read_bytes() for file in tmp_path.iterdir())


def test_a_revoked_key_is_refused_by_other_processes_too(
    core: Core, upstream: Simulator, tmp_path: Path
) -> None:
    _, text = core.keys.create("ann")
    with load(upstream, tmp_path) as other:
        assert other.keys.find(text) is not None
        core.keys.revoke("ann")
        assert core.keys.find(text) is None
        ends = time.monotonic() + 60
        while other.keys.find(text) is not None:
            assert time.monotonic() < ends
            time.sleep(0.01)
        assert other.keys.has_keys(), "from the first key on, a gateway requires one"


def test_an_expired_key_is_refused_and_its_name_is_free(core: Core) -> None:
    _, old = core.keys.create("ann", expires_in_s=-1)
    assert core.keys.find(old) is None
    _, new = core.keys.create("ann", expires_in_s=3600)
    assert core.keys.find(new) is not None
    assert len(core.keys.list_keys()) == 1


def test_a_name_has_one_valid_key(core: Core) -> None:
    core.keys.create("ann")
    with pytest.raises(LedgerError, match="there is a key `ann` already"):
        core.keys.create("ann")
    with pytest.raises(LedgerError, match="there is no key `an`") as caught:
        core.keys.revoke("an")
    assert (caught.value.suggestion, caught.value.fix) == ("ann", "llmcore keys revoke ann")
    core.keys.revoke("ann")
    core.keys.create("ann")


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 65, "a\n", "ä", "a/b"])
def test_a_malformed_name_is_refused(core: Core, name: str) -> None:
    with pytest.raises(LedgerError, match="a key's name must be"):
        core.keys.create(name)


def test_the_budget_of_a_key_holds_only_for_its_calls(core: Core) -> None:
    _, text = core.keys.create("ann", budget=Decimal("0.0001"), per="month")
    assert core.keys.find(text)
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 400}
    core.llm.send(body, user="bob")
    core.llm.send({**body, "max_tokens": 5}, user="ann")
    with pytest.raises(BudgetExceeded) as caught:
        core.llm.send({**body, "temperature": 0.1}, user="ann")
    assert (caught.value.budget, caught.value.limit) == ("month user=ann", Decimal("0.0001"))
    core.llm.send({**body, "temperature": 0.1}, user="bob")


def test_a_budget_of_the_configuration_for_the_same_user_holds_as_well(
    upstream: Simulator, tmp_path: Path
) -> None:
    small: dict[str, object] = {"limit": "0.00001 USD", "per": "month", "user": "ann"}
    with load(upstream, tmp_path, [small]) as core:
        _, text = core.keys.create("ann", budget=Decimal(1), per="month")
        assert core.keys.find(text)
        with pytest.raises(BudgetExceeded) as caught:
            core.llm.chat("Hello", max_tokens=400, user="ann")
    assert caught.value.limit == Decimal("0.00001")


def test_a_rate_limit_is_shared_by_processes(core: Core, upstream: Simulator, tmp_path: Path) -> None:
    key, _ = core.keys.create("ann", requests_per_minute=4)
    free, _ = core.keys.create("bob")
    with load(upstream, tmp_path) as other:
        waits = [each.keys.take_request(key) for each in (core, other, core, other)]
        waits.append(asyncio.run(other.keys.atake_request(key)))
        assert waits[:4] == [0.0] * 4
        assert 0.0 < waits[4] <= 15.0
        assert core.keys.take_request(free) == 0.0


def test_without_a_ledger_keys_cannot_be_used() -> None:
    with (
        llmcore.load({"ledger": {"enabled": False}}) as core,
        pytest.raises(LedgerError, match="is disabled"),
    ):
        core.keys.create("ann")


@pytest.mark.parametrize("number", [0, -1])
def test_a_rate_limit_of_nothing_is_refused(core: Core, number: int) -> None:
    with pytest.raises(LedgerError, match="requests_per_minute must be at least 1"):
        core.keys.create("ann", requests_per_minute=number)
    assert core.keys.list_keys() == []
