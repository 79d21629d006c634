"""The marks that `make quick` uses: derived from the source of a file, or written at the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    "tests/project/test_marks.py",
    "tests/testing/test_redis_server.py",
    "tests/cache/test_cache_familiar.py",
    "tests/calls/test_calls_bucket.py",
)
QUICK = "not slow and not process and not server"


def select(marks: str) -> set[str]:
    """Return those of FILES that have tests with *marks*."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-qq",
        *("-p", "no:cacheprovider", "-p", "pytest_timeout"),
        "--collect-only",
        "-m",
        marks,
        *FILES,
    ]
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # their import takes longer than the run
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return {line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("tests/")}


@pytest.mark.parametrize(
    ("marks", "files"),
    [
        ("process", {FILES[0]}),
        ("server", {FILES[1]}),
        ("slow", {FILES[3]}),
        (QUICK, {FILES[2], FILES[3]}),
    ],
)
def test_a_mark_selects_its_tests(marks: str, files: set[str]) -> None:
    assert select(marks) == files


def test_make_quick_leaves_out_all_three() -> None:
    assert f'-m "{QUICK}"' in (ROOT / "Makefile").read_text()
