"""The table of tested versions agrees with the projects, and `llmcore doctor` compares what is installed with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from llmcore.cli.sdk_versions import TESTED, compare_versions
from tests.kits.cli import CommandLine

ROOT = Path(__file__).parents[2]
PROJECTS = {
    project["name"]: project
    for path in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
    for project in [tomllib.loads(path.read_text())["project"]]
}


OPENAI = "llmcore-openai-optimized"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what installs distributions of given versions, in front of the real ones."""

    def install_versions(**versions: str) -> None:
        cli = CommandLine(tmp_path)
        for name, version in versions.items():
            cli.install(name, {}, {}, version=version)
        monkeypatch.syspath_prepend(str(cli.site))

    return install_versions


def find_bounds(project: dict[str, Any]) -> dict[str, str]:
    """Return the lower bound of each direct dependency that is not ours, extras included."""
    lines = [
        *project["dependencies"],
        *(line for extra in project.get("optional-dependencies", {}).values() for line in extra),
    ]
    found = {}
    for requirement in map(Requirement, lines):
        if requirement.name not in PROJECTS:
            (found[requirement.name],) = (
                each.version for each in requirement.specifier if each.operator == ">="
            )
    return found


@pytest.mark.parametrize("name", PROJECTS)
def test_the_lowest_tested_versions_are_the_lower_bounds(name: str) -> None:
    assert {sdk: tested.lowest for sdk, tested in TESTED.get(name, {}).items()} == find_bounds(PROJECTS[name])


def test_the_newest_tested_versions_are_those_of_the_development_requirements() -> None:
    pinned = dict(
        re.findall(r"^([\w-]+)==([^\s;]+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    )
    newest = {sdk: tested.newest for table in TESTED.values() for sdk, tested in table.items()}
    assert set(newest) - set(pinned) == {"ray"}, "only `make ray` installs Ray"
    assert {sdk: newest[sdk] for sdk in newest if sdk in pinned} == {
        sdk: pinned[sdk] for sdk in newest if sdk in pinned
    }, "after `make requirements`, update TESTED"


def test_each_newest_version_fits_the_bounds() -> None:
    for name, project in PROJECTS.items():
        for requirement in map(Requirement, project["dependencies"]):
            if requirement.name not in PROJECTS:
                newest = TESTED[name][requirement.name].newest
                assert requirement.specifier.contains(Version(newest)), f"{name}: {requirement}"


@pytest.mark.parametrize("found", ["2.11.0", "2.9", "1.99.1", "2.11.0.post1", "2.11.9rc1"])
def test_a_version_below_the_bound_is_a_problem_with_a_fix(install: Callable[..., None], found: str) -> None:
    install(httpx2=found, regex=TESTED[OPENAI]["regex"].newest)
    problem, rest = compare_versions(OPENAI)
    assert problem == (
        OPENAI,
        False,
        f"httpx2 must be 2.12 or later, got {found}",
        "pip install 'httpx2>=2.12'",
    )
    assert rest.ok
    assert "httpx2" not in rest.text


@pytest.mark.parametrize("found", ["2.16.3", "3", "10.0.0"])
def test_a_version_that_is_newer_than_tested_is_a_note(install: Callable[..., None], found: str) -> None:
    install(httpx2=found)
    (finding,) = compare_versions(OPENAI)
    assert finding.ok
    assert f"httpx2 {found} (newer than 2.16.2, the newest that was tested)" in finding.text


@pytest.mark.parametrize("found", ["2.12", "2.12.0", "2.15", "2.16.2"])
def test_a_tested_version_is_named_and_nothing_more(install: Callable[..., None], found: str) -> None:
    install(httpx2=found)
    (finding,) = compare_versions(OPENAI)
    assert f"httpx2 {found}, " in finding.text


def test_the_doctor_prints_the_comparison(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    cli.install("httpx2", {}, {}, version="2.11.0")
    done = cli("doctor", "--offline", LLMCORE_PLUGINS="openai")
    assert done.returncode == 6
    assert (
        "broken  versions for llmcore-openai-optimized: httpx2 must be 2.12 or later, got 2.11.0\n"
        in done.stdout
    )
    assert "        fix: pip install 'httpx2>=2.12'\n" in done.stdout
    assert "ok      versions for llmcore-host: apsw " in done.stdout
