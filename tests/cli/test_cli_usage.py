"""`llmcore usage`: the same figures as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.kits.cli import CommandLine


@pytest.fixture
def spent(tmp_path: Path) -> CommandLine:
    cli = CommandLine(tmp_path)
    (cli.folder / "llmcore.toml").write_text(
        '[llm]\nprovider = "echo"\n[prices]\n"echo:default" = { input = 0, output = 1000 }\n'
        '[budget]\nlimit = "0.02 USD"\nper = "day"\n[[budgets]]\nlimit = 1\ntag = "x"\n'
    )
    for words in ("one", "one", "two"):
        assert cli("ask", words, "-p", "max_tokens=5").returncode == 0
    return cli


def list_rows(cli: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    done = cli("usage", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def test_usage_shows_today_the_month_its_parts_and_the_budgets(spent: CommandLine) -> None:
    done = spent("usage")
    assert (done.returncode, done.stderr) == (0, "")
    totals, days, models, budgets = done.stdout.rstrip().split("\n\n")
    head, today, month = totals.splitlines()
    assert head.split() == ["requests", "cached", "tokens", "in", "out", "cost", "saved"]
    assert today.split()[:3] == ["today", "2", "1"]
    assert month.split()[:4] == ["this", "month", "2", "1"]
    assert days.startswith("cost a day  ▁")
    assert days.splitlines()[0].count("▁") == 29
    assert models.splitlines()[1].split()[:3] == ["echo:default", "2", "1"]
    assert [line.split()[0] for line in budgets.splitlines()] == ["budget", "day", "total"]
    assert " UTC " in budgets


def test_the_overview_has_the_same_figures_as_json(spent: CommandLine) -> None:
    found = json.loads(spent("usage", "--json").stdout)
    (row,) = found["rows"]
    assert found["by"] == "day"
    for field in ("requests", "cached", "cost", "saved"):
        assert found["totals"]["today"][field] == found["totals"]["month"][field] == row[field]
        assert found["parts"]["model"][0][field] == row[field]
    assert [state["name"] for state in found["budgets"]] == ["day", "total tag=x"]


def test_a_month_without_calls_says_so(spent: CommandLine) -> None:
    for arguments in (["last-month"], ["--month", "2001-10"], ["model", "--month", "last-month"]):
        done = spent("usage", *arguments)
        assert (done.returncode, done.stdout) == (0, "")
        assert "no calls in this period" in done.stderr
    # the pace, in the last line of the days and in the budgets, changes with the time
    month, default = (
        spent("usage", *each).stdout.split("\npace")[0] for each in (["--month", "this-month"], [])
    )
    assert month == default


def test_options_may_stand_before_the_group(spent: CommandLine) -> None:
    assert spent("usage", "--user", "ben", "model").stdout == ""
    assert spent("usage", "--month", "this-month", "model").stdout == spent("usage", "model").stdout


def test_rows_are_divided_by_further_groups(spent: CommandLine) -> None:
    done = json.loads(spent("usage", "day", "--by", "model", "--by", "kind", "--json").stdout)
    (row,) = done["rows"]
    assert done["by"] == "day,model,kind"
    assert row["key"][1:] == ["echo:default", "llm"]
    (line,) = csv.DictReader(io.StringIO(spent("usage", "day", "--by", "model", "--csv").stdout))
    assert (line["day"], line["model"]) == (row["key"][0], "echo:default")


def test_a_month_is_printed_by_one_group_or_as_csv(spent: CommandLine) -> None:
    table = spent("usage", "model", "--month", "this-month").stdout
    assert spent("usage", "--by", "model").stdout == table
    as_csv = spent("usage", "model", "--month", "this-month", "--csv").stdout
    assert spent("usage", "--csv").stdout == spent("usage", "--month", "this-month", "--csv").stdout == as_csv
    (row,) = json.loads(spent("usage", "--by", "kind", "--by", "model", "--json").stdout)["rows"]
    assert row["key"] == ["llm", "echo:default"]
    for options in (["--by", "day"], ["--csv"], ["--by", "day", "--csv"]):
        done = spent("usage", "last-month", *options)
        assert (done.returncode, done.stdout) == (0, "")


def test_a_narrow_table_leaves_out_columns_before_it_breaks_names(spent: CommandLine) -> None:
    wide = spent("usage", "model", COLUMNS="200")
    assert wide.stdout.splitlines()[0].split() == [
        "model",
        "requests",
        "cached",
        "tokens",
        "in",
        "out",
        "cost",
        "saved",
    ]
    narrow = spent("usage", "model", COLUMNS="36")
    head, row = narrow.stdout.splitlines()
    assert (head.split(), row.split()[:2]) == (["model", "requests", "cost"], ["echo:default", "2"])
    assert (
        narrow.stderr
        == "not shown in this width: cached, tokens in, out, saved; all columns: llmcore usage model --csv\n"
    )
    tiny = spent("usage", "model", COLUMNS="24").stdout.splitlines()
    assert [line.split()[0] for line in tiny] == ["model", "echo:d", "efault"]


def test_an_unknown_cost_names_the_model_and_the_commands_that_help(spent: CommandLine) -> None:
    (spent.folder / "llmcore.toml").write_text('[llm]\nprovider = "scripted"\nmodel = "free"\n')
    plugins = str(Path(__file__).parents[1] / "fixtures" / "scripted")
    assert spent("ask", "three", PYTHONPATH=plugins).returncode == 0
    for arguments in ([], ["model"]):
        done = spent("usage", *arguments, PYTHONPATH=plugins)
        assert "+?" in done.stdout
        assert "of scripted:free is unknown" in done.stderr
        assert "llmcore config set 'prices.\"scripted:free\"'" in done.stderr
    assert "(llmcore usage model)" in spent("usage", "day", PYTHONPATH=plugins).stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["day", "--zone", "Europe/Berlim"], "unknown time zone `Europe/Berlim`"),
        (["day", "--month", "2026-13"], "a month must be YYYY-MM, this-month or last-month, got '2026-13'"),
        (["day", "--month", "2026-10", "--since", "7d"], "--month and --since or --until exclude each other"),
        (["day", "--by", "day"], "a group is named twice: day, day"),
    ],
)
def test_a_wrong_option_is_explained(spent: CommandLine, arguments: list[str], text: str) -> None:
    done = spent("usage", *arguments)
    assert done.returncode == 2
    assert text in done.stderr


@pytest.mark.parametrize("group", ["day", "month", "model", "provider", "user", "tag"])
def test_each_group_has_the_same_sums(spent: CommandLine, group: str) -> None:
    (row,) = list_rows(spent, group)
    assert (row["requests"], row["cached"], row["failures"]) == (2, 1, 0)
    assert row["cost"] == pytest.approx(row["output_tokens"] / 1000)


def test_csv_is_csv(spent: CommandLine) -> None:
    (row,) = csv.DictReader(io.StringIO(spent("usage", "model", "--csv").stdout))
    assert (row["name"], row["requests"]) == ("echo:default", "2")
    exported = list(csv.DictReader(io.StringIO(spent("usage", "export").stdout)))
    assert [line["state"] for line in exported] == ["done", "hit", "done"]
    as_json = [json.loads(line) for line in spent("usage", "export", "--json").stdout.splitlines()]
    assert [line["call"] for line in as_json] == [line["call"] for line in exported]


def test_every_format_of_the_export_has_the_same_rows(spent: CommandLine) -> None:
    lines = [json.loads(line) for line in spent("usage", "export", "--json").stdout.splitlines()]
    assert spent("usage", "export", "-o", "rows.csv", "--csv").stdout == ""
    done = spent("usage", "export", "--parquet", "-o", "rows.parquet", "--model", "echo:default")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    table = parquet.read_table(spent.folder / "rows.parquet")
    assert table.schema.field("cost").type == pa.decimal128(28, 9)
    for found in (
        table.to_pylist(),
        list(csv.DictReader((spent.folder / "rows.csv").read_text().splitlines())),
    ):
        assert [Decimal(row["cost"]) for row in found] == [Decimal(row["cost"]) for row in lines]
        assert [row["state"] for row in found] == ["done", "hit", "done"]


def test_budgets_show_the_remaining_amount(spent: CommandLine) -> None:
    states = json.loads(spent("usage", "budget", "--json").stdout)["budgets"]
    assert [(state["name"], state["limit"]) for state in states] == [("day", 0.02), ("total tag=x", 1.0)]
    assert states[0]["spent"] > 0
    assert spent("usage", "budget").stdout.splitlines()[0].split()[:4] == [
        "budget",
        "period",
        "limit",
        "spent",
    ]


def test_a_call_that_no_budget_allows_ends_with_5(spent: CommandLine) -> None:
    for words in ("three", "four", "five", "six", "seven"):
        done = spent("ask", words, "-p", "max_tokens=5")
    assert done.returncode == 5
    assert done.stderr.startswith("error[LC601]: the call can cost up to $0.00")
    assert "the budget `day` has $0.00 left of $0.02" in done.stderr


def test_nothing_open_and_nothing_to_prune(spent: CommandLine) -> None:
    assert "every request is settled" in spent("usage", "open").stderr
    assert json.loads(spent("usage", "prune", "1d", "--json").stdout)["deleted"] == 0
    assert json.loads(spent("usage", "prune", "2999-01-01", "--json").stdout)["deleted"] == 3
    assert spent("usage").stdout.splitlines()[1].split()[:3] == ["today", "2", "1"]


def test_a_malformed_time_is_an_error(spent: CommandLine) -> None:
    done = spent("usage", "day", "--since", "yesterday")
    assert done.returncode == 2
    assert "a time must be a date, ISO 8601 or a duration before now, got 'yesterday'" in done.stderr
