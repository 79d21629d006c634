"""`make lowest` fails if a conformance kit did not run: a kit whose tests are all skipped has shown nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kits.idle_kits import find_idle_kits

RUN = "class TestRun:\n    def test_one(self): ...\n"
SKIPPED = "import pytest\n@pytest.mark.skipif(True, reason='no server')\nclass TestSkipped:\n    def test_one(self): ...\n    def test_two(self): ...\n"
PARTLY = "import pytest\nclass TestPartly:\n    def test_one(self): ...\n    def test_two(self): pytest.skip('no fixture')\n"
ABSENT = "import pytest\npytest.skip('no library', allow_module_level=True)\n"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (RUN + PARTLY, []),
        (RUN + SKIPPED, [("tests.test_kit.TestSkipped", "no server")]),
        (SKIPPED, [("tests.test_kit", "no server")]),
        (ABSENT, [("tests.test_kit", "no library")]),
    ],
    ids=["a_test_ran", "a_class_was_skipped", "every_class_was_skipped", "the_file_was_skipped"],
)
def test_a_kit_of_which_no_test_ran_is_a_problem(
    tmp_path: Path, text: str, problems: list[tuple[str, str]]
) -> None:
    report = _run(tmp_path, text)
    found = find_idle_kits(report, ["tests/test_kit.py"])
    assert len(found) == len(problems), found
    for said, (kit, reason) in zip(found, problems, strict=True):
        assert said.startswith(f"{kit}: no test ran, ")
        assert reason in said


def test_a_run_without_any_test_of_a_kit_is_a_problem(tmp_path: Path) -> None:
    report = _run(tmp_path, RUN)
    assert find_idle_kits(report, ["tests/test_kits.py"]) == ["no test of tests/test_kits.py ran"]


def _run(folder: Path, text: str) -> Path:
    (folder / "tests").mkdir()
    (folder / "tests/test_kit.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--junitxml=report.xml",
        "tests",
    ]
    subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300)
    return folder / "report.xml"
