"""`core.usage.by`: several dimensions, time zones, filters and percentiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest

import llmcore
from llmcore.errors import LedgerError


@pytest.fixture
def core(tmp_path: Path) -> Iterator[llmcore.Core]:
    ledger = str(tmp_path / "ledger.sqlite3")
    with llmcore.load({"llm": {"provider": "echo"}, "ledger": {"path": ledger}}) as core:
        yield core


def add(core: llmcore.Core, moment: str, cost: float = 1.0, **fields: Any) -> None:
    """Add one answered request at *moment*, in UTC."""
    add_many(core, [moment], [cost], **fields)


def add_many(core: llmcore.Core, moments: Sequence[str], costs: Sequence[float], **fields: Any) -> None:
    core.usage.by("total")  # creates the file
    # Not sqlite3: two copies of SQLite in one process undo each other's locks.
    with apsw.Connection(core.settings.ledger.path or "") as db:
        for moment, cost in zip(moments, costs, strict=True):
            at = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
            values = {"at": at, "call": "c", "attempt": 1, "state": "done", "kind": "llm", "provider": "echo", "model": "a", "cost": int(cost * 1e9), **fields}  # fmt: skip
            last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
            values["id"] = max(int(at * 1e6), last + 1)
            marks = ", ".join("?" * len(values))
            db.execute(f"INSERT INTO calls ({', '.join(values)}) VALUES ({marks})", [*values.values()])  # noqa: S608 - constants
    db.close()


def read_costs(core: llmcore.Core, group: Any, **arguments: Any) -> dict[Any, int]:
    return {row.key: int(row.cost) for row in core.usage.by(group, **arguments)}


def test_several_dimensions_are_in_the_key_of_each_row(core: llmcore.Core) -> None:
    add(core, "2026-10-01T10:00", 1, user="ann", tags='["x","y"]')
    add(core, "2026-10-01T11:00", 2, model="b:c")
    add(core, "2026-10-02T10:00", 4)
    assert read_costs(core, ("day", "model"), zone="UTC") == {
        ("2026-10-01", "echo:a"): 1,
        ("2026-10-01", "echo:b:c"): 2,
        ("2026-10-02", "echo:a"): 4,
    }
    assert read_costs(core, ["tag", "user"]) == {("", ""): 6, ("x", "ann"): 1, ("y", "ann"): 1}
    assert read_costs(core, "kind") == {("llm",): 7}
    assert [row.name for row in core.usage.by(("day", "model"), zone="UTC")][1] == "2026-10-01 / echo:b:c"


def test_days_weeks_and_months_are_those_of_the_zone(core: llmcore.Core) -> None:
    add(core, "2025-12-31T22:59:59.999999", 1)
    add(core, "2025-12-31T23:00", 2)
    assert read_costs(core, "day", zone="Europe/Berlin") == {("2025-12-31",): 1, ("2026-01-01",): 2}
    assert read_costs(core, "month", zone="Europe/Berlin") == {("2025-12",): 1, ("2026-01",): 2}
    assert read_costs(core, "week", zone="Europe/Berlin") == {("2026-W01",): 3}
    assert read_costs(core, "month", zone="UTC") == {("2025-12",): 3}
    assert read_costs(core, "day", zone=timezone(timedelta(hours=-23))) == {
        ("2025-12-30",): 1,
        ("2025-12-31",): 2,
    }


def test_an_hour_that_clocks_repeat_is_two_rows(core: llmcore.Core) -> None:
    for number, moment in enumerate(("2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30")):
        add(core, moment, 10**number)
    assert list(read_costs(core, "hour", zone="Europe/Berlin").items()) == [
        (("2026-10-25T02:00+02:00",), 1),
        (("2026-10-25T02:00+01:00",), 10),
        (("2026-10-25T03:00+01:00",), 100),
    ]
    assert list(read_costs(core, "hour", zone="Asia/Kathmandu")) == [
        ("2026-10-25T06:00+05:45",),
        ("2026-10-25T07:00+05:45",),
        ("2026-10-25T08:00+05:45",),
    ]


def test_a_day_on_which_clocks_change_has_23_or_25_hours(core: llmcore.Core) -> None:
    for day in ("2026-03-29", "2026-10-25"):
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=3)
        moments = [begin + timedelta(hours=hour) for hour in range(30)]
        add_many(core, [moment.replace(tzinfo=None).isoformat() for moment in moments], [1.0] * 30)
    days = read_costs(core, "day", zone="Europe/Berlin")
    assert (days["2026-03-29",], days["2026-10-25",]) == (23, 25)
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        following = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        assert read_costs(core, "total", since=day, until=following, zone="Europe/Berlin") == {
            ("all",): hours
        }


def test_a_date_is_local_to_the_zone_and_a_moment_with_an_offset_is_not(core: llmcore.Core) -> None:
    add(core, "2026-06-30T22:30", 1)
    assert read_costs(core, "total", since="2026-07-01", zone="Europe/Berlin") == {("all",): 1}
    assert read_costs(core, "total", since=date(2026, 7, 1), zone="UTC") == {}
    assert read_costs(core, "total", since="2026-06-30T22:31:00+00:00", zone="Europe/Berlin") == {}
    assert read_costs(core, "total", until="9999-12-31", zone="Europe/Berlin") == {("all",): 1}


def test_filters_select_calls_of_every_report(core: llmcore.Core) -> None:
    core.keys.create("ann")
    add(core, "2026-10-01T10:00", 1, user="ann", tags='["x"]')
    add(core, "2026-10-01T11:00", 2, user="ben", model="b", error="LC402 RateLimited", state="failed")
    add(core, "2026-10-01T12:00", 4, kind="voice", provider="tts")
    expected: list[tuple[Any, int]] = [
        ({"user": "ann"}, 1), ({"user": ""}, 4), ({"key": "ann"}, 1), ({"key": "ben"}, 0), ({"tag": "x"}, 1), ({"tag": ""}, 6),
        ({"model": "b"}, 2), ({"model": "echo:b"}, 2), ({"provider": "tts"}, 4), ({"kind": "voice"}, 4),
        ({"error": "LC402 RateLimited"}, 2), ({"user": "ann", "model": "b"}, 0), ({"user": "' OR 1=1 --"}, 0),
    ]  # fmt: skip
    for filters, cost in expected:
        assert sum(read_costs(core, "total", **filters).values()) == cost, filters
        assert sum(Decimal(row["cost"]) for row in core.usage.export(**filters)) == cost, filters
        assert sum(Decimal(row["cost"]) for row in core.usage.latest(**filters)) == cost, filters
    assert read_costs(core, "key") == {("ann",): 1, ("",): 6}
    assert [row["user"] for row in core.usage.latest(2)] == [None, "ben"]


@pytest.mark.slow
def test_percentiles_are_those_of_the_answered_requests(core: llmcore.Core) -> None:
    for number in range(1, 102):
        add(core, "2026-10-01T10:00", latency_ms=float(number), first_token_ms=None if number % 2 else 5.0)
    add(core, "2026-10-01T10:00", latency_ms=9e9, state="failed")
    (row,) = core.usage.by("model", percentiles=True)
    assert (row.latency_p50_ms, row.latency_p95_ms, row.first_token_p95_ms) == (51, 96, 5)
    assert core.usage.by("model")[0].latency_p95_ms is None


def test_a_wrong_argument_is_named(core: llmcore.Core) -> None:
    wrong: Any = core.usage.by
    for group, arguments, text in (
        (("day", "mdel"), {}, "unknown group `mdel`"),
        (("day", "day"), {}, "a group is named twice: day, day"),
        ("day", {"zone": "Mars/Base"}, "unknown time zone `Mars/Base`"),
        ("day", {"zone": "../../etc/passwd"}, "unknown time zone"),
        ("day", {"usr": "ann"}, "usr"),
    ):
        with pytest.raises(llmcore.LLMCoreError, match=text):
            wrong(group, **arguments)
    with pytest.raises(LedgerError, match="a time must be"):
        core.usage.by("day", since="2026-13-01")
