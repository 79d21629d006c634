"""`llmcore usage`: the same figures as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

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


def rows(cli: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    done = cli("usage", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def test_usage_shows_the_day_by_default(spent: CommandLine) -> None:
    done = spent("usage")
    assert (done.returncode, done.stderr) == (0, "")
    head, line = done.stdout.splitlines()
    assert head.split() == ["day", "requests", "cached", "tokens", "in", "out", "cost", "saved"]
    assert line.split()[1:3] == ["2", "1"]
    assert spent("usage", "day").stdout == done.stdout


@pytest.mark.parametrize("group", ["day", "month", "model", "provider", "user", "tag"])
def test_each_group_has_the_same_sums(spent: CommandLine, group: str) -> None:
    (row,) = rows(spent, group)
    assert (row["requests"], row["cached"], row["failures"]) == (2, 1, 0)
    assert row["cost"] == pytest.approx(row["output_tokens"] / 1000)


def test_csv_is_csv(spent: CommandLine) -> None:
    (row,) = csv.DictReader(io.StringIO(spent("usage", "model", "--csv").stdout))
    assert (row["name"], row["requests"]) == ("echo:default", "2")
    exported = list(csv.DictReader(io.StringIO(spent("usage", "export").stdout)))
    assert [line["state"] for line in exported] == ["done", "hit", "done"]
    as_json = [json.loads(line) for line in spent("usage", "export", "--json").stdout.splitlines()]
    assert [line["call"] for line in as_json] == [line["call"] for line in exported]


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
    assert "no calls in this period" in spent("usage").stderr


def test_a_malformed_time_is_an_error(spent: CommandLine) -> None:
    done = spent("usage", "day", "--since", "yesterday")
    assert done.returncode == 2
    assert "a time must be a date, ISO 8601 or a duration before now, got 'yesterday'" in done.stderr
