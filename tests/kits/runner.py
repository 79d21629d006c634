"""Run a conformance kit on a file of backends, like a third-party plugin, and return the outcome of each test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llmcore_testing.unchecked_parts import NOT_CHECKED
from tests.kits.once import make_once

BACKENDS = Path(__file__).parents[1] / "broken_backends"
Outcomes = Mapping[str, Mapping[str, tuple[str, str]]]
"""Class -> test -> (passed, failure, error or skipped; what was said)."""


def run_kit(
    backends: str, factory: pytest.TempPathFactory, *arguments: str, found_by: Mapping[str, tuple[str, str]]
) -> Outcomes:
    """Run the file *backends* of `tests/broken_backends`, once for all workers, away from this project.

    Of a broken backend only the test that *found_by* names runs, until it fails with the words there. Tests that are skipped
    since the file does not define an optional fixture are left out.
    """
    folder = make_once(
        factory, f"kit-{backends}", lambda folder: _run(BACKENDS / backends, folder, arguments, found_by)
    )
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for case in ET.parse(folder / "report.xml").getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
        name = case.attrib["classname"].rpartition(".")[2].removeprefix("Test")
        problem = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        ended = (
            ("passed", "") if problem is None else (problem.tag, f"{problem.get('message')}{problem.text}")
        )
        tests, test = found.setdefault(name, {}), case.attrib["name"]
        has_failed = (
            tests.get(test, ("passed", ""))[0] != "passed"
        )  # it has a second entry if its end failed too
        if NOT_CHECKED not in ended[1] and not has_failed:
            tests[test] = ended
    return found


def _run(
    backends: Path, folder: Path, arguments: Sequence[str], found_by: Mapping[str, tuple[str, str]]
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\njunit_logging = no\nmarkers =\n    process\n    server\n"
    )
    command = [
        sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.kits.early_end",
        "--import-mode=importlib", "-c", str(folder / "pytest.ini"), f"--rootdir={folder}",
        f"--junitxml={folder / 'report.xml'}", str(backends), *arguments,
    ]  # fmt: skip
    env = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "CI": "true",  # pytest explains a failed comparison in full
        "KIT_FOUND_BY": json.dumps(dict(found_by)),
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]


def check_found(outcomes: Outcomes, backend: str, found_by: Mapping[str, tuple[str, str]]) -> None:
    """Fail unless the named test failed for this backend, with the words of the fault."""
    test, words = found_by[backend]
    said = list_failures(outcomes[backend])
    assert said, f"{backend} passed {test or 'the kit'}"
    assert any(words in text for text in said), said[0]


def list_failures(outcomes: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the messages of one backend's failures."""
    return [said for ended, said in outcomes.values() if ended in ("failure", "error")]


def count_ended(outcomes: Mapping[str, tuple[str, str]], how: str) -> int:
    """Return how many of one backend's tests ended so."""
    return sum(one == how for one, _ in outcomes.values())
