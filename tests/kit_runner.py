"""Runs a file of backends under a conformance kit, as a stranger would, and tells how every test ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

Outcomes = Mapping[str, Mapping[str, tuple[str, str]]]
"""Class -> test -> (passed, failure, error or skipped; what was said)."""


def run_kit(backends: str, folder: Path, *arguments: str) -> Outcomes:
    """Run the file *backends* of this folder, away from this project and with pytest alone."""
    report = folder / "report.xml"
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\njunit_logging = no\n")
    command = [
        sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "--import-mode=importlib",
        "-c", str(folder / "pytest.ini"), f"--rootdir={folder}", f"--junitxml={report}",
        str(Path(__file__).with_name(backends)), *arguments,
    ]  # fmt: skip
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        name = case.attrib["classname"].rpartition(".")[2].removeprefix("Test")
        problem = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        ended = (
            ("passed", "") if problem is None else (problem.tag, f"{problem.get('message')}{problem.text}")
        )
        found.setdefault(name, {})[case.attrib["name"]] = ended
    return found


def complaints(outcomes: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return what was said of one backend's failures."""
    return [said for ended, said in outcomes.values() if ended in ("failure", "error")]


def ended(outcomes: Mapping[str, tuple[str, str]], how: str) -> int:
    """Return how many of one backend's tests ended so."""
    return sum(one == how for one, _ in outcomes.values())
