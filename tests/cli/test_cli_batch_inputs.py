"""`llmcore batch run`: files as people have them, and what the command says about the others."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("kind", "separator", "written"),
    [("csv", ";", ","), ("csv", "\t", ","), ("csv", ",", ","), ("tsv", "\t", "\t")],
)
def test_a_table_is_read_with_its_separator(
    cli: CommandLine, kind: str, separator: str, written: str
) -> None:
    """The header of a `.csv` file shows its separator; that of a `.tsv` file is the tab."""
    rows = [["id", "text", "a, b; c" if kind == "tsv" else "c"]]
    rows += [["a", 'one, "two"\r\nthree; four\tfive', '5 " pipe'], ["b", "six", ""]]
    with Path(f"in.{kind}").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    assert count_rows(f"in.{kind}", kind) == 2, "a line break within a field is not a row"
    done = cli("batch", "run", f"in.{kind}", "-o", f"out.{kind}", "--column", "text")
    assert done.returncode == 0, done.stderr
    with Path(f"out.{kind}").open(newline="") as file:
        header, *found = csv.reader(file, delimiter=written)
    assert header == [*rows[0], "answer", "error", "cost"]
    assert [row[:3] for row in found] == rows[1:]
    assert found[1][3] == "You said: six"


def test_a_tsv_file_needs_the_column_of_the_prompt_and_utf8(cli: CommandLine) -> None:
    Path("in.tsv").write_text("id\tnote, long\n1\ta\n")
    done = cli("batch", "run", "in.tsv", "-o", "out.jsonl")
    assert (done.returncode, "in.tsv has no column `prompt`" in done.stderr) == (2, True)
    assert "--column 'note, long'" in done.stderr
    assert cli("batch", "run", "in.tsv", "-o", "out.jsonl", "--column", "note, long").returncode == 0
    assert json.loads(Path("out.jsonl").read_text())["answer"] == "You said: a"
    Path("in.tsv").write_text("id\tgr\u00f6\u00dfe\n1\ta\n", encoding="windows-1252")
    assert "iconv -f WINDOWS-1252 -t UTF-8 in.tsv > utf8.tsv" in cli(*RUN[:2], "in.tsv", *RUN[3:]).stderr


def test_an_input_that_does_not_exist_makes_no_run(cli: CommandLine) -> None:
    Path("inn.csv").touch()
    done = cli(*RUN)
    assert (done.returncode, "in.csv cannot be read: No such file" in done.stderr) == (2, True)
    assert "did you mean `inn.csv`?" in done.stderr
    assert "resume it with" not in done.stderr
    assert json.loads(cli("batch", "list", "--json").stdout)["runs"] == []


@pytest.mark.parametrize("text", ["", "id,text\n"])
def test_an_empty_input_is_reported(cli: CommandLine, text: str) -> None:
    Path("in.csv").write_text(text)
    done = cli(*RUN)
    assert (done.returncode, "in.csv has no lines, so nothing was sent" in done.stderr) == (0, True)
    assert "estimated" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1252"])
def test_a_header_that_is_not_utf8_is_reported(cli: CommandLine, encoding: str) -> None:
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


@pytest.mark.process
def test_parquet_without_pyarrow_is_refused_with_a_line_to_paste(cli: CommandLine) -> None:
    Path("in.csv").write_text("prompt\nHello\n")
    hide = "import sys; sys.modules['pyarrow'] = None\nfrom llmcore.cli import main\n"
    for arguments, where in (
        (("batch", "run", "in.parquet", "-o", "out.csv"), "in.parquet"),
        (("batch", "run", "in.csv", "-o", "out.parquet"), "out.parquet"),
        (("usage", "export", "--parquet", "-o", "usage.parquet"), "--parquet"),
    ):
        code = f"{hide}sys.exit(main({list(arguments)!r}))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=cli.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        expected = (
            f"Parquet needs pyarrow, which is not installed\n --> {where}\n  = fix: pip install pyarrow\n"
        )
        assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
    assert sorted(each.name for each in Path().glob("*.*")) == ["in.csv", "llmcore.toml"]
