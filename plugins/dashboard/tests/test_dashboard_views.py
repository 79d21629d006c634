"""The page has the figures of random ledgers to the nano-dollar, in any time zone, also when clocks change."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcore
from llmcore_dashboard import render_file
from llmcore_dashboard.report import read_report
from llmcore_dashboard.view import View
from tests.kits.random_ledgers import CHANGES, EXAMPLES, ZONES, rows, sum_up, write_rows

ROW = re.compile(r'<tr><th scope="row">([\d-]{10})</th>(.*?)</tr>')
VALUE = re.compile(r'<data value="([^"]*)"')


def read_cells(text: str, table: str) -> dict[str, list[Decimal]]:
    """Return the values in each row of a table whose rows are days; empty cells are 0."""
    inner = text.partition(f'id="{table}"')[2].partition("</details>")[0]
    return {
        day: [
            Decimal(found[1]) if (found := VALUE.search(cell)) else Decimal(0)
            for cell in cells.split("</td>")[:5]
        ]
        for day, cells in ROW.findall(inner)
    }


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("views")
    with llmcore.load(
        {"llm": {"provider": "echo"}, "ledger": {"path": str(folder / "ledger.sqlite3")}}
    ) as core:
        core.usage.by("total")  # creates the file
        yield core, folder


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    near=st.sampled_from(CHANGES),
    zone=st.sampled_from(ZONES),
    group=st.sampled_from(["model", "user", "tag"]),
    data=st.data(),
)
def test_the_page_agrees_with_the_rows(
    core: Any, near: float, zone: str, group: str, data: st.DataObject
) -> None:
    core, folder = core
    table = data.draw(st.lists(rows(near), min_size=1, max_size=20))
    write_rows(folder, table)
    expected = sum_up(list(core.usage.export()), zone)
    middle = datetime.fromtimestamp(near, ZoneInfo(zone)).date()
    first, end = middle - timedelta(days=3), middle + timedelta(days=4)
    text = render_file(core, View(since=f"{first}", until=f"{end}", group=group, zone=zone, step="day"))
    costs, requests = read_cells(text, "cost-table"), read_cells(text, "requests-table")
    # Samoa had no 30th of December 2011
    assert set(expected) <= set(costs)
    for day, cells in costs.items():
        figures = expected.get(day, (0, 0, 0, 0, 0))
        assert tuple(cells[:3]) == figures[2:], day
        assert requests.get(day, [0, 0, 0])[0] == figures[0], day
        assert requests.get(day, [0, 0, 0])[2] == figures[1], day
    if group != "tag":
        total = sum(row.cost for row in core.usage.by(group, zone=zone))
        assert total == sum(cells[0] for cells in costs.values())


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize("near", CHANGES)
def test_the_hours_are_those_of_the_ledger(core: Any, near: float, zone: str) -> None:
    core, folder = core
    day = datetime.fromtimestamp(near, ZoneInfo(zone)).date()
    start, end = (core.usage.zone(zone).find_start(day + timedelta(days=days)) for days in (0, 1))
    write_rows(
        folder,
        [(at, "done", 1, "echo", "a", 1, 0, None, 0, None, None) for at in range(int(start), int(end), 900)],
    )
    hours = [row.name for row in core.usage.by("hour", zone=zone)]
    view = View(since=f"{day}", until=f"{day + timedelta(days=1)}", zone=zone, step="hour")
    assert [bucket.name for bucket in read_report(core, view).buckets] == hours
