"""`llmcore batch run` with a table that lacks the column of the prompts: nothing is sent, and the fix works."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _table() -> None:
    Path("llmcore.toml").write_text('[llm]\nprovider = "echo"\n\n[cache]\nprovider = "memory"\n')
    Path("people.csv").write_text("id,name,text\n1,ann,likes blue\n2,bob,likes red\n")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmcore", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "where", "fixed"),
    [
        ([], "people.csv:1", "--column text"),
        (["--column", "txt"], "--column txt", "--column text"),
        (["--prompt", "Of {Name}: {text}"], "--prompt Of {Name}: {text}", "--prompt 'Of {name}: {text}'"),
    ],
)
def test_a_missing_column_is_reported_with_the_nearest_one(
    options: list[str], where: str, fixed: str
) -> None:
    done = run("batch", "run", "people.csv", "-o", "out.csv", *options, "--json")
    assert done.returncode == 2
    error = json.loads(done.stderr)["error"]
    assert error["where"] == where
    assert "id, name, text" in error["expected"]
    assert fixed in error["fix"]
    assert not Path("out.csv").exists()
    again = run(*shlex.split(error["fix"])[1:])
    assert again.returncode == 0, again.stderr
    assert "You said: " in Path("out.csv").read_text()


@pytest.mark.process
def test_parquet_has_the_same_check() -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"Question": ["a"], "n": [1]}), "in.parquet")
    done = run("batch", "run", "in.parquet", "-o", "out.jsonl")
    assert done.returncode == 2
    assert "in.parquet has no column `prompt`" in done.stderr
    assert "llmcore batch run in.parquet -o out.jsonl --column Question" in done.stderr
