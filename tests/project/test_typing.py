"""Editors and type checkers understand a program: mypy and pyright check those in `tests/typing`, which are not run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "typing"
RIGHT, WRONG = FOLDER / "right.py", FOLDER / "wrong.py"


def run_mypy() -> set[tuple[str, int]]:
    """Return the files and lines that mypy refuses."""
    command = [sys.executable, "-m", "mypy", "--strict", str(RIGHT), str(WRONG)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {
        (Path(name).name, int(line))
        for name, line in re.findall(r"^(.+?):(\d+): error:", done.stdout, re.MULTILINE)
    }


def run_pyright() -> set[tuple[str, int]]:
    """Return the files and lines that pyright refuses."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in found["generalDiagnostics"]
        if each["severity"] == "error"
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("checker", [run_mypy, run_pyright])
def test_type_checkers_refuse_the_wrong_lines_and_no_other(checker: object) -> None:
    assert callable(checker)
    lines = WRONG.read_text().splitlines()
    wrong = {("wrong.py", number) for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert len(wrong) > 10
    assert checker() == wrong
