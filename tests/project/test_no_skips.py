"""The switch that `.ci/run` sets: with it a skipped test fails the run, without it the run passes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SKIPPED_TEST = """
import pytest

@pytest.mark.skip(reason="no such machine")
def test_left_out(): ...

def test_done(): ...
"""
SKIPPED_FILE = 'import pytest\npytest.skip("no such library", allow_module_level=True)\n'
DONE = "def test_done(): ...\n"


def _run(folder: Path, text: str, *, no_skips: str | None) -> tuple[int, str]:
    shutil.copy(ROOT / "conftest.py", folder)
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (folder / "tests").mkdir()
    (folder / "tests/test_one.py").write_text(text)
    env = {name: value for name, value in os.environ.items() if name != "LLMCORE_NO_SKIPS"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # their import takes longer than the run
    if no_skips:
        env["LLMCORE_NO_SKIPS"] = no_skips
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("text", "reason"), [(SKIPPED_TEST, "no such machine"), (SKIPPED_FILE + DONE, "no such library")]
)
def test_a_skip_fails_the_run_and_is_named(tmp_path: Path, text: str, reason: str) -> None:
    status, output = _run(tmp_path, text, no_skips="1")
    assert status != 0
    assert reason in output.split("every skip is a failure")[1]


def test_without_the_switch_a_skip_passes(tmp_path: Path) -> None:
    assert _run(tmp_path, SKIPPED_TEST, no_skips=None)[0] == 0


def test_with_the_switch_a_run_without_skips_passes(tmp_path: Path) -> None:
    status, output = _run(tmp_path, DONE, no_skips="1")
    assert (status, "every skip" in output) == (0, False)
