"""`llmcore batch run`: files as people have them, and what the command says about the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from llmcore.cli.batch_files import count_rows
from llmcore.cli.batch_output import lock_output
from tests.kits.cli import CommandLine

RUN = ("batch", "run", "in.csv", "-o", "out.csv", "--column", "text")


@pytest.fixture
def cli() -> CommandLine:
    Path("llmcore.toml").write_text(
        '[llm]\nprovider = "echo"\n\n[cache]\nprovider = "memory"\n\n[prices."echo:default"]\ninput = 1.0\noutput = 1.0\n'
    )
    return CommandLine(Path.cwd())


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_the_header_of_a_table_shows_its_separator(cli: CommandLine, separator: str) -> None:
    with Path("in.csv").open("w", newline="", encoding="utf-8-sig") as file:
        rows = [["id", "text"], ["a", 'one, "two"\r\nthree; four\tfive'], ["b", "six"]]
        csv.writer(file, delimiter=separator).writerows(rows)
    assert count_rows("in.csv", "csv") == 2, "a line break within a field is not a row"
    assert cli(*RUN).returncode == 0
    with Path("out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["id"], row["text"]) for row in found] == [tuple(row) for row in rows[1:]]
    assert found[1]["answer"] == "You said: six"


def test_an_input_that_does_not_exist_makes_no_run(cli: CommandLine) -> None:
    Path("inn.csv").touch()
    done = cli(*RUN)
    assert (done.returncode, "in.csv cannot be read: No such file" in done.stderr) == (2, True)
    assert "did you mean `inn.csv`?" in done.stderr
    assert "resume it with" not in done.stderr
    assert json.loads(cli("batch", "list", "--json").stdout)["runs"] == []


@pytest.mark.parametrize("text", ["", "id,text\n"])
def test_an_empty_input_is_told(cli: CommandLine, text: str) -> None:
    Path("in.csv").write_text(text)
    done = cli(*RUN)
    assert (done.returncode, "in.csv has no lines, so nothing was sent" in done.stderr) == (0, True)
    assert "estimated" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1252"])
def test_a_header_that_is_not_utf8_is_told(cli: CommandLine, encoding: str) -> None:
    Path("in.csv").write_text("größe,text\n1,a\n", encoding=encoding)
    done = cli(*RUN)
    assert (done.returncode, "the header of in.csv is not UTF-8" in done.stderr) == (2, True)
    assert f"iconv -f {encoding.upper()} -t UTF-8 in.csv > utf8.csv" in done.stderr


def test_two_runs_do_not_write_to_one_output(cli: CommandLine) -> None:
    Path("in.csv").write_text("text\nHello\n")
    with lock_output("out.csv"):
        done = cli(*RUN)
        assert (done.returncode, "out.csv is in use by another process" in done.stderr) == (1, True)
        assert not Path("out.csv").exists()
    assert cli(*RUN).returncode == 0


def test_the_status_has_the_cost_and_the_command_that_resumes(cli: CommandLine) -> None:
    Path("in.csv").write_text("text\nHello\nyou\n")
    options = ("-p", "max_tokens=5", "--concurrency", "1", "--budget", "0.00001 USD")
    dry = cli(*RUN, *options, "--dry-run").stdout
    assert [line.split()[0] for line in dry.splitlines()][-1] == "--budget", dry
    assert cli(*RUN, *options).returncode == 5
    shown = cli("batch", "status")
    run = json.loads(cli("batch", "status", "--json").stdout)
    assert run["state"] == "unfinished"
    assert run["cost"] > 0
    assert "cost: $0.00000" in shown.stdout
    assert f"resume it with: llmcore batch resume {run['run']}" in shown.stderr
