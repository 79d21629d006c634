"""Reports have the same figures before and after rows are pruned, or say that they cannot be answered any more."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcore
from llmcore.errors import LedgerError
from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_sums import SUM_ATTEMPT
from llmcore_testing.postgres_server import PostgresServer
from tests.kits.cli import CommandLine
from tests.kits.random_ledgers import EXAMPLES, ZONES

NEAR = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()
"""Clocks change in Berlin."""
GROUPS: list[Any] = ["total", ("day", "model"), "week", "month", "user", "tag", ("error", "provider"), "kind"]


def make_rows(seed: int, count: int) -> list[LedgerRow]:
    """Return random closed rows within five days."""
    pick = random.Random(seed)  # noqa: S311 - no secret
    rows = []
    for _ in range(count):
        state = pick.choice(["done", "done", "failed", "hit", "lost"])
        cost = None if pick.random() < 0.2 and state != "hit" else pick.randrange(10**12)
        rows.append(
            LedgerRow(
                at=NEAR + pick.choice([pick.randrange(-200_000, 200_000), pick.randrange(-48, 48) * 3600]),
                state=state,
                count=pick.randrange(1, 9) if state == "hit" else 1,
                kind=pick.choice(["llm", "voice"]),
                provider="echo",
                model=pick.choice(["a", "b:c"]),
                cost=0 if state == "hit" else cost,
                saved=pick.randrange(10**12) if state == "hit" else None,
                uncertain=state == "lost" or (state == "done" and pick.random() < 0.2),
                error="LC401 Unavailable" if state == "failed" else None,
                input_tokens=pick.randrange(10**6),
                characters=pick.randrange(100),
                latency_ms=pick.random() * 1000,
                user=pick.choice([None, "ann", "ben"]),
                tags=pick.choice([(), ("x",), ("x", "ü")]),
            )
        )
    return rows


def read_views(core: llmcore.Core, zone: str) -> list[Any]:
    views: list[Any] = [core.usage.by(group, zone=zone) for group in GROUPS]
    views += [core.usage.by("day", zone=zone, user="ann"), core.usage.by("day", zone=zone, tag="x"),
              core.usage.by("day", zone=zone, model="b:c")]  # fmt: skip
    views.append(core.usage.by("model", zone=zone, since="2026-10-24", until="2026-10-26"))
    exported = list(core.usage.export())
    views.append([sum(row["count"] for row in exported), sum(row["input_tokens"] for row in exported)])
    return views


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def make_core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pruned")
    ledger: dict[str, Any] = {"path": str(folder / "ledger.sqlite3"), "provider": request.param}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("llmcore_postgres")
        ledger["postgres"] = {"url": server.create_database()}

    def make() -> llmcore.Core:
        for file in folder.glob("ledger.sqlite3*"):
            file.unlink()
        core = llmcore.load({"llm": {"provider": "echo"}, "ledger": ledger})
        provider = core.backend("ledger").provider
        if request.param == "postgres":
            provider.drop(60.0)
        provider.prepare(60.0)
        return core

    return make


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**9), count=st.integers(1, 60), zone=st.sampled_from(ZONES), data=st.data())
def test_every_view_of_whole_days_stays_the_same(
    make_core: Any, seed: int, count: int, zone: str, data: st.DataObject
) -> None:
    with make_core() as core:
        rows = make_rows(seed, count)
        core.backend("ledger").provider.record("one", rows, [], 60.0)
        names = {zone, "UTC"}
        before = {name: read_views(core, name) for name in names}
        cuts = data.draw(st.lists(st.integers(-300_000, 300_000), min_size=1, max_size=3))
        for cut in sorted(cuts):
            moment = NEAR + cut
            core.usage.prune(moment, zone=zone)
            left = [row for row in core.usage.export(zone=zone) if row["attempt"] != SUM_ATTEMPT]
            assert len(left) == sum(row.at >= int(moment) for row in rows)
            for name in names:
                assert read_views(core, name) == before[name]


@pytest.fixture
def core(tmp_path: Path) -> Iterator[llmcore.Core]:
    with llmcore.load(
        {"llm": {"provider": "echo"}, "ledger": {"path": str(tmp_path / "ledger.sqlite3")}}
    ) as core:
        provider = core.backend("ledger").provider
        provider.prepare(60.0)
        provider.record("one", make_rows(1, 80), [], 60.0)
        yield core


def test_what_sums_of_days_cannot_answer_is_an_error_with_the_nearest_bounds(core: llmcore.Core) -> None:
    core.usage.prune("2026-10-26", zone="Europe/Berlin")
    with pytest.raises(LedgerError, match="hours divide a pruned day") as caught:
        core.usage.by("hour", zone="UTC")
    assert caught.value.fix == "since='2026-10-25T23:00:00Z'"
    assert core.usage.by("hour", zone="UTC", since="2026-10-25T23:00:00Z")
    with pytest.raises(LedgerError, match="days in Asia/Kathmandu divide a pruned day"):
        core.usage.by("day", zone="Asia/Kathmandu")
    assert core.usage.by("month", zone="Asia/Kathmandu")
    with pytest.raises(LedgerError, match="`since` 2026-10-24T12:00:00Z divides a pruned day") as caught:
        core.usage.by("model", since="2026-10-24T12:00:00Z")
    assert caught.value.fix == "since='2026-10-24T22:00:00Z'"
    with pytest.raises(LedgerError, match="`until` 2026-10-24T12:00:00Z divides a pruned day") as caught:
        list(core.usage.export(until="2026-10-24T12:00:00Z"))
    assert caught.value.fix == "until='2026-10-24T00:00:00Z'"


def test_percentiles_are_those_of_the_remaining_rows(core: llmcore.Core) -> None:
    (row,) = core.usage.by("total", percentiles=True)
    assert row.latency_p95_ms is not None
    core.usage.prune("2999-01-01")
    (after,) = core.usage.by("total", percentiles=True)
    assert after == msgspec.structs.replace(
        row, latency_p50_ms=None, latency_p95_ms=None, first_token_p50_ms=None, first_token_p95_ms=None
    )


def test_a_new_budget_counts_pruned_rows(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "llm": {"provider": "echo"},
        "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
    }
    with llmcore.load(settings) as core:
        provider = core.backend("ledger").provider
        provider.prepare(60.0)
        provider.record("one", make_rows(1, 80), [], 60.0)
        spent = sum(row.cost + row.uncertain for row in core.usage.by("total", user="ann"))
        core.usage.prune("2999-01-01")
    settings["budgets"] = [{"limit": "1_000_000 USD", "user": "ann"}]
    with llmcore.load(settings) as core:
        core.llm.chat("hello", user="ann")
        (state,) = core.usage.budgets()
        assert state.spent == spent


def test_the_command_prunes_and_explains_what_it_cannot_show(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    (cli.folder / "llmcore.toml").write_text('[llm]\nprovider = "echo"\n[ledger]\npath = "ledger.sqlite3"\n')
    with llmcore.load(cli.folder / "llmcore.toml") as core:
        provider = core.backend("ledger").provider
        provider.prepare(60.0)
        old = datetime.now(UTC) - timedelta(days=10)
        rows = [msgspec.structs.replace(row, at=old.timestamp()) for row in make_rows(1, 9)]
        provider.record("one", rows, [], 60.0)
    before = json.loads(cli("usage", "day", "--by", "user", "--zone", "Asia/Tokyo", "--json").stdout)
    done = cli("usage", "prune", "9d", "--zone", "Asia/Tokyo")
    assert (done.returncode, done.stderr) == (0, "replaced 9 rows by the sums of their days\n")
    assert json.loads(cli("usage", "day", "--by", "user", "--zone", "Asia/Tokyo", "--json").stdout) == before
    done = cli("usage", "hour", "--zone", "Asia/Tokyo")
    assert done.returncode != 0
    assert "hours divide a pruned day" in done.stderr
