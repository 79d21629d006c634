"""The conformance kit of storages passes what keeps the contract and finds what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

BACKENDS = Path(__file__).with_name("kit_storage_backends.py")

Outcomes = Mapping[str, Mapping[str, tuple[str, str]]]
"""Class -> test -> (passed, failed, error or skipped; what was said)."""

FOUND_BY = {
    "Appends": "must replace what was there",
    "BlocksUnderAnAsyncName": "must be awaitable: write `async def aload`",
    "DeleteAlwaysSaysTrue": "assert True is False",
    "DeleteSaysNothing": "assert None is",
    "DeletesWholeFolders": "must not touch its files",
    "FindsNothingEmpty": "must raise StorageNotFound, returned b''",
    "HalfAColour": "still to define: asave, aexists, adelete, alist_files",
    "HalfAFileSystem": "still to define: create_directory, get_modified_time",
    "IgnoresCase": "both keys were accepted",
    "IsAsyncUnderABlockingName": "name the asynchronous method aload",
    "KeepsTheFirst": "must replace what was there",
    "ListsUnsorted": "returns every key, sorted as text",
    "ListsWithoutLookingAtThePrefix": "returns the keys that begin so",
    "LosesTheLastByte": "1048577 bytes were saved, 1048576 came back",
    "MilliSeconds": "are not seconds since 1970",
    "NoStorage": "define save, load, exists, delete, list_files, or their asynchronous twins asave",
    "NormalisesKeys": "both keys were accepted",
    "RaisesKeyError": "must raise StorageNotFound, raised KeyError",
    "ReturnsText": "load must return bytes, got str",
    "TakesAnyKey": "save('../outside', b'hostile') must raise StorageKeyError, returned None",
    "TakesFoldersForFiles": "a folder is no file",
    "TakesThePrefixForAFolder": "returns the keys that begin so",
    "WritesInPlace": "nobody saved in one piece",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Run the kit over every backend as a stranger would: away from this project, with pytest alone."""
    folder = tmp_path_factory.mktemp("stranger")
    report = folder / "report.xml"
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\njunit_logging = no\n")
    command = [
        sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "--import-mode=importlib",
        # One test shows what the two say that cannot be called at all.
        "-k", "not (TestForgottenFixture or TestNoStorage) or a_folder_is_no_file",
        "-c", str(folder / "pytest.ini"), f"--rootdir={folder}", f"--junitxml={report}", str(BACKENDS),
    ]  # fmt: skip
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        name = case.attrib["classname"].rpartition(".")[2].removeprefix("Test")
        problem = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        outcome = (
            ("passed", "") if problem is None else (problem.tag, f"{problem.get('message')}{problem.text}")
        )
        found.setdefault(name, {})[case.attrib["name"]] = outcome
    return found


def _count(outcomes: Mapping[str, tuple[str, str]], tag: str) -> int:
    return sum(outcome == tag for outcome, _ in outcomes.values())


def test_a_correct_storage_passes_wholly_in_both_colours(outcomes: Outcomes) -> None:
    both = outcomes["Both"]
    assert {outcome for outcome, _ in both.values()} == {"passed"}
    assert sum("[sync" in name for name in both) == sum("[async" in name for name in both) > 60


@pytest.mark.parametrize(("backend", "lacking"), [("Memory", "async"), ("AsyncMemory", "sync")])
def test_one_colour_is_enough_and_the_other_is_skipped_with_its_reason(
    outcomes: Outcomes, backend: str, lacking: str
) -> None:
    for name, (outcome, said) in outcomes[backend].items():
        if f"[{lacking}" in name:
            assert outcome == "skipped", name
            assert f"has no {lacking} colour: it does not define" in said
        elif outcome != "passed":
            assert outcome == "skipped", name
            assert "does not offer" in said, "of its own colour only the optional ability may be skipped"
    assert _count(outcomes[backend], "passed") > 60


def test_a_storage_may_be_built_on_the_event_loop_of_the_test(outcomes: Outcomes) -> None:
    assert _count(outcomes["BuiltOnTheLoop"], "passed") == _count(outcomes["AsyncMemory"], "passed")


@pytest.mark.parametrize(("backend", "reason"), FOUND_BY.items(), ids=FOUND_BY)
def test_a_broken_storage_fails_and_the_failure_says_why(
    outcomes: Outcomes, backend: str, reason: str
) -> None:
    said = [text for outcome, text in outcomes[backend].values() if outcome in ("failure", "error")]
    assert said, f"{backend} passed the kit"
    assert any(reason in text for text in said), said[0]


def test_every_broken_storage_is_named_here(outcomes: Outcomes) -> None:
    assert set(outcomes) - {"Memory", "AsyncMemory", "Both", "BuiltOnTheLoop", "ForgottenFixture"} == set(
        FOUND_BY
    )


def test_a_forgotten_fixture_is_told_what_to_write(outcomes: Outcomes) -> None:
    assert {outcome for outcome, _ in outcomes["ForgottenFixture"].values()} == {"error"}
    said = next(iter(outcomes["ForgottenFixture"].values()))[1]
    assert "def provider(self, tmp_path):\n        return MyStorage(tmp_path)" in said
