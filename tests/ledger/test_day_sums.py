"""Reports of many rows use sums of finished days, and are equal to the sums of the rows at any time."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.support.ledger_rows import LedgerRow
from tests.kits.usage_rows import add_rows, make_rows

NOW = time.time()
GROUPS: tuple[Any, ...] = (
    "total", "day", "week", "month", "model", "user", "tag", "error", ("day", "model"), ("hour", "user"), ("month", "tag"),
)  # fmt: skip
DIVIDED: tuple[tuple[Any, dict[str, Any]], ...] = (
    (("day", "model"), {"model": "fast"}), ("user", {"user": "ann"}), ("tag", {"tag": "nightly"}), ("model", {"tag": ""}),
    ("error", {"provider": "openai"}), ("total", {"error": "cancelled"}), ("day", {"user": ""}), ("month", {"kind": "voice"}),
    ("total", {"percentiles": True}), (("week", "model"), {"percentiles": True}), ("model", {"percentiles": True, "model": "openai:fast"}),
    ("user", {"percentiles": True}),
)  # fmt: skip
ROW = {"call": "c", "attempt": 1, "state": "done", "kind": "llm", "provider": "late", "model": "x", "cost": 7}


@pytest.fixture
def core(tmp_path: Path) -> Iterator[llmcore.Core]:
    ledger = str(tmp_path / "ledger.sqlite3")
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": ledger}}) as core:
        add_rows(core, make_rows(23_000, NOW, days=40))
        yield core


def find_sums(core: llmcore.Core) -> Path:
    return Path(f"{core.settings.ledger.path}.sums")


def read_from_rows(core: llmcore.Core, group: Any, **arguments: Any) -> Any:
    """Return the report without the file of sums, which is a folder meanwhile."""
    path = find_sums(core)
    away = path.with_name("away")
    if path.exists():
        path.rename(away)
    path.mkdir()
    try:
        return core.usage.by(group, **arguments)
    finally:
        path.rmdir()
        if away.exists():
            away.rename(path)


def check(core: llmcore.Core, *, zones: tuple[str, ...] = ("Asia/Kathmandu",), **bounds: Any) -> None:
    """Compare reports with those that are read from the rows, some of them with filters or percentiles."""
    for zone in zones:
        for group, more in (*((group, {}) for group in GROUPS), *DIVIDED):
            arguments = {"zone": zone, **bounds, **more}
            found, expected = core.usage.by(group, **arguments), read_from_rows(core, group, **arguments)
            assert [row.key for row in found] == [row.key for row in expected]
            for row, other in zip(found, expected, strict=True):
                for field in row.__struct_fields__:
                    value = getattr(other, field)
                    if field.endswith("_ms") and value is not None:  # SQLite may round differently
                        value = pytest.approx(value, rel=1e-12)
                    assert getattr(row, field) == value, (group, arguments, field)


def run(core: llmcore.Core, statement: str) -> None:
    with apsw.Connection(core.settings.ledger.path or "") as db:
        db.execute(statement)
    db.close()


def test_finished_days_are_stored_while_calls_are_written(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.sqlite3")
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": ledger}}) as core:
        provider = core.backend("ledger").provider
        provider.prepare(60.0)
        rows = [
            LedgerRow(
                at=NOW - 40 * 86400 + number * 90,
                state="done",
                kind="llm",
                provider="p",
                model="a",
                latency_ms=5.0,
            )
            for number in range(21_000)
        ]
        number = 0
        ends = time.monotonic() + 60
        while read_stored(core) < 15 and time.monotonic() < ends:
            provider.record(
                f"batch {number}", rows[number * 1000 : number * 1000 + 1000] or rows[-500:], [], 60.0
            )
            number += 1
        assert read_stored(core) >= 15
        check(core)


def read_stored(core: llmcore.Core) -> int:
    """Return the number of days whose latencies are stored."""
    if not find_sums(core).exists():
        return 0
    with suppress(apsw.Error), apsw.Connection(str(find_sums(core))) as db:
        db.set_busy_timeout(10_000)
        count: int = db.execute("SELECT count(*) FROM days WHERE shape LIKE '%latencies'").get
        return count
    return 0


@pytest.mark.slow
def test_reports_are_equal_to_the_rows_in_every_zone(core: llmcore.Core) -> None:
    check(core, zones=("Europe/Berlin", "America/St_Johns"))
    assert stat.S_IMODE(find_sums(core).stat().st_mode) == 0o600
    size = find_sums(core).stat().st_size
    check(core, zones=("America/St_Johns",))
    assert find_sums(core).stat().st_size == size, "the second time, every day is kept"
    check(core, since="39d")
    check(core, since=NOW - 39.5 * 86400, until=NOW - 0.25 * 86400)


@pytest.mark.slow
def test_late_rows_open_rows_and_deleted_rows_are_noticed(core: llmcore.Core) -> None:
    check(core)
    add_rows(core, [{**ROW, "at": NOW - 10 * 86400}])
    check(core)
    assert (
        core.usage.by("total", provider="late")[0].cost
        == core.usage.sum(row for row in core.usage.by("provider") if row.name == "late").cost
    )
    owner = core._spending.operations.provider._owners.get_own_name()
    begun = {**ROW, "at": NOW - 5 * 86400, "state": "open", "owner": owner, "cost": None}
    add_rows(core, [begun, {**ROW, "at": NOW}])
    check(core)
    run(core, "UPDATE calls SET state = 'done', cost = 9, owner = NULL WHERE state = 'open'")
    check(core)
    zone = "Asia/Kathmandu"

    def read() -> Any:
        return core.usage.by(("day", "model"), zone=zone), core.usage.by("day", zone=zone, kind="llm")

    expected = read()
    assert core.usage.prune("38d", zone=zone) > 1000
    found = core.usage.zone(zone)
    check(core, since=found.find_start(found.find_date(NOW - 37 * 86400)))
    assert read() == expected
    core.usage.prune(NOW + 1e6, zone=zone)
    assert read() == expected


def test_a_damaged_file_of_sums_is_not_needed(core: llmcore.Core) -> None:
    core.usage.by("model")
    expected = read_from_rows(core, "model")
    find_sums(core).write_bytes(b"no database" * 1000)
    assert core.usage.by("model") == expected
    find_sums(core).unlink()
    find_sums(core).mkdir()
    assert core.usage.by("model") == expected


def test_threads_may_read_at_the_same_time(core: llmcore.Core) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(core.usage.by, ["model", "user", "model", "user"] * 2))
    assert found[0] == found[2] == found[4] == read_from_rows(core, "model")


def test_a_small_ledger_has_no_file_of_sums(tmp_path: Path) -> None:
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": str(tmp_path / "l.sqlite3")}}) as core:
        add_rows(core, make_rows(100, NOW))
        core.usage.by("model")
        assert not find_sums(core).exists()
