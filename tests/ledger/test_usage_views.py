"""Every view of the ledger shows the same figures, in any time zone, also on the days when clocks change.

The page of the dashboard is compared in `plugins/dashboard/tests/test_dashboard_views.py`.
"""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmcore
from tests.kits.cli import CommandLine
from tests.kits.random_ledgers import EXAMPLES, ZONES, Figures, rows, sum_up, write_rows


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    cli = CommandLine(tmp_path_factory.mktemp("views"))
    (cli.folder / "llmcore.toml").write_text('[llm]\nprovider = "echo"\n[ledger]\npath = "ledger.sqlite3"\n')
    return cli


def read_figures(found: list[dict[str, Any]]) -> dict[str, Figures]:
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
