"""Every view of the ledger shows the same figures, in any time zone, also on the days when clocks change."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcore
from tests.kits.cli import CommandLine

EXAMPLES: Final = int(os.environ.get("LLMCORE_LEDGERS", "20"))
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe",
                "Africa/Casablanca", "America/Havana", "Pacific/Apia", "America/St_Johns")  # fmt: skip
CHANGES: Final = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    for text in ("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2026-11-01T06:00", "2018-11-04T03:00",
                 "2011-12-30T10:00", "2026-04-04T15:00", "2026-03-22T01:00", "2026-03-08T05:00")
)  # fmt: skip
"""Moments at which clocks of ZONES change."""
COLUMNS: Final = (
    "at",
    "state",
    "count",
    "provider",
    "model",
    "cost",
    "uncertain",
    "saved",
    "input_tokens",
    "user",
    "tags",
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Any, ...]:
    near = draw(st.sampled_from(CHANGES))
    at = near + draw(
        st.one_of(
            st.integers(-200_000, 200_000).map(lambda n: n / 1000),
            st.integers(-48, 48).map(lambda n: n * 900),
        )
    )
    state = draw(st.sampled_from(["done", "done", "failed", "hit", "lost"]))
    cost: int | None = draw(st.integers(0, 10**12))
    uncertain, saved, count = 0, None, 1
    if state == "hit":
        cost, saved, count = 0, draw(st.integers(0, 10**12)), draw(st.integers(1, 9))
    elif draw(st.integers(0, 4)) == 0:
        cost = None
    else:
        uncertain = 1 if state == "lost" else draw(st.integers(0, 1))
    tags = draw(st.sampled_from([None, '["x"]', '["x","ü"]']))
    return (at, state, count, "echo", draw(st.sampled_from(["a", "b:c"])), cost, uncertain, saved,
            draw(st.integers(0, 10**6)), draw(st.sampled_from([None, "ann", "<b>"])), tags)  # fmt: skip


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    cli = CommandLine(tmp_path_factory.mktemp("views"))
    (cli.folder / "llmcore.toml").write_text('[llm]\nprovider = "echo"\n[ledger]\npath = "ledger.sqlite3"\n')
    return cli


def write_rows(folder: Path, table: list[tuple[Any, ...]]) -> None:
    with apsw.Connection(
        str(folder / "ledger.sqlite3")
    ) as db:  # not sqlite3: two copies of SQLite in one process undo each other's locks
        db.execute("DELETE FROM calls")
        marks = ", ".join("?" * len(COLUMNS))
        last = 0
        for row in table:
            last = max(last + 1, int(row[0] * 1e6))
            db.execute(
                f"INSERT INTO calls (id, call, attempt, kind, {', '.join(COLUMNS)}) VALUES (?, '', 0, 'llm', {marks})",  # noqa: S608 - constants
                (last, *row),
            )
    db.close()


def sum_up(
    exported: list[dict[str, Any]], zone: str
) -> dict[str, tuple[int, int, Decimal, Decimal, Decimal]]:
    """Return requests, hits, cost, uncertain cost and saved cost by local day, without any of our SQL."""
    sums: dict[str, list[Any]] = defaultdict(lambda: [0, 0, Decimal(0), Decimal(0), Decimal(0)])
    for row in exported:
        entry = sums[datetime.fromtimestamp(float(row["at"]), ZoneInfo(zone)).date().isoformat()]
        entry[row["state"] == "hit"] += int(row["count"])
        entry[3 if int(row["uncertain"]) else 2] += Decimal(row["cost"] or 0)
        entry[4] += Decimal(row["saved"] or 0)
    return {day: tuple(entry) for day, entry in sums.items()}


def read_figures(found: list[dict[str, Any]]) -> dict[str, tuple[int, int, Decimal, Decimal, Decimal]]:
    def amount(value: Any) -> Decimal:
        return round(Decimal(str(value)), 9)

    return {
        row["name"]: (int(row["requests"]), int(row["cached"]), amount(row["cost"]), amount(row["uncertain"]), amount(row["saved"]))
        for row in found
    }  # fmt: skip


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=st.lists(rows(), max_size=30), zone=st.sampled_from(ZONES))
def test_five_views_agree_to_the_nano_dollar(
    cli: CommandLine, table: list[tuple[Any, ...]], zone: str
) -> None:
    with llmcore.load(
        {"llm": {"provider": "echo"}, "ledger": {"path": str(cli.folder / "ledger.sqlite3")}}
    ) as core:
        core.usage.by("total")  # creates the file
        write_rows(cli.folder, table)
        exported = list(core.usage.export())
        expected = sum_up(exported, zone)
        days = core.usage.by("day", zone=zone)
        totals = core.usage.by("total", zone=zone)
        pairs = core.usage.by(("day", "model", "user"), zone=zone)
    assert read_figures([{**{f: getattr(row, f) for f in row.__struct_fields__}} for row in days]) == expected
    assert len(exported) == len(table)
    for total in totals:
        for field in ("cost", "uncertain", "saved", "requests", "cached", "unpriced", "input_tokens"):
            assert sum(getattr(row, field) for row in days) == getattr(total, field)
            assert sum(getattr(row, field) for row in pairs) == getattr(total, field)
    as_json = json.loads(cli("usage", "day", "--zone", zone, "--json").stdout)
    assert read_figures(as_json["rows"]) == expected
    as_csv = csv.DictReader(io.StringIO(cli("usage", "day", "--zone", zone, "--csv").stdout))
    assert read_figures(list(as_csv)) == expected
    lines = csv.DictReader(io.StringIO(cli("usage", "export").stdout))
    assert sum_up(list(lines), zone) == expected
