"""The files around the code keep step with it: pinned requirements, workflows, hooks, decisions."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements-dev.txt").read_text().splitlines()
    if not line.startswith("#")
]
UNPINNED = {"ray"}
"""What .venv lacks because of its size; only `make ray` and `make lowest` install it."""
PREINSTALLED = {"chromium", "git", "make", "nodejs", "npm", "openssl", "python3"}
"""What the machines of GitHub have; their browser is Chrome."""
DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def requirements(path: Path) -> list[Requirement]:
    document = read(path)
    lists = [
        document["project"]["dependencies"],
        *document["project"].get("optional-dependencies", {}).values(),
        *document.get("dependency-groups", {}).values(),
    ]
    found = [Requirement(line) for lines in lists for line in lines]
    return [requirement for requirement in found if not requirement.name.startswith("llmcore-")]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_every_dependency_has_a_pin_that_fits(path: Path) -> None:
    """Where this fails, run `make requirements`."""
    unfit = []
    for wanted in requirements(path):
        if wanted.name in UNPINNED:
            continue
        pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
        versions = [next(iter(pin.specifier)).version for pin in pins]
        if not versions or not all(wanted.specifier.contains(version) for version in versions):
            unfit.append((str(wanted), versions))
    assert unfit == []


def test_every_requirement_is_pinned_to_one_version_without_an_address() -> None:
    assert [str(pin) for pin in PINS if pin.url or [part.operator for part in pin.specifier] != ["=="]] == []
    assert "://" not in (ROOT / "requirements-dev.txt").read_text()


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_targets_that_exist_and_says_that_it_was_not_run(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {word for step in steps(path) for word in re.findall(r"^make (\w+)", step.get("run", ""))}
    assert called
    assert called <= targets
    assert path.read_text().startswith("# Not yet run on GitHub")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_pins_each_action_to_a_commit_and_names_its_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []


def test_the_workflow_tests_every_python_on_linux_and_macos() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]["strategy"][
        "matrix"
    ]
    assert matrix == {"os": ["ubuntu-latest", "macos-latest"], "python": ["3.11", "3.12", "3.13", "3.14"]}
    assert read(PROJECTS[0])["project"]["requires-python"] == f">={matrix['python'][0]}"


def test_the_workflow_installs_the_servers_of_the_check_and_fails_for_skips_on_linux() -> None:
    check = (ROOT / ".ci/run").read_text()
    needed = set(re.findall(r"need \S+ (\S+)$", check, re.MULTILINE)) - PREINSTALLED
    assert {"redis-server", "memcached", "postgresql", "pgbouncer"} <= needed
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    scripts = {step.get("name", ""): step.get("run", "") for step in job["steps"]}
    install = next(text for name, text in scripts.items() if name.startswith("Install"))
    assert needed <= set(re.findall(r"[\w-]+", install.partition("apt-get install")[2]))
    assert "LLMCORE_NO_SKIPS=1 make test" in scripts["Test on Linux"]
    assert "export LLMCORE_NO_SKIPS=1" in check


def test_every_target_without_a_file_is_phony() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_every_distribution_has_a_changelog_with_a_place_for_the_next_version(path: Path) -> None:
    assert "\n## [Unreleased]\n" in path.with_name("CHANGELOG.md").read_text()


def test_nothing_is_published_unless_a_variable_says_so() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert jobs["publish"]["if"] == "vars.PUBLISH == 'yes'"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github/workflows/release.yml").read_text()


def test_every_hook_runs_a_tool_of_the_development_environment() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert {tool.removeprefix(".venv/bin/") for tool in tools} == {"check-jsonschema", "mypy", "ruff"}
    names = {requirement.name for requirement in requirements(PROJECTS[0])}
    assert {"check-jsonschema", "mypy", "ruff"} <= names


@pytest.mark.parametrize("kind", ["bug", "feature", "provider"])
def test_an_issue_form_fits_githubs_schema(kind: str) -> None:
    path = f".github/ISSUE_TEMPLATE/{kind}.yml"
    command = [
        str(Path(sys.executable).with_name("check-jsonschema")),
        "--builtin-schema",
        "vendor.github-issue-forms",
        path,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_dated_and_listed_and_names_files_that_exist(path: Path) -> None:
    text = path.read_text()
    title, _, state, *_ = text.splitlines()
    number, index = int(path.name[:4]), (ROOT / "docs/decisions/README.md").read_text()
    assert title.startswith(f"# {number}. ")
    assert re.match(r"\d{4}-\d\d-\d\d\. (Accepted|Replaced by \[\d+\])", state)
    assert f"| [{number}]({path.name}) | {state[:10]} | {title.partition('. ')[2]} |" in index
    assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))
    assert len(text.splitlines()) <= 30
    named = re.findall(r"`((?:llmcore|tests|plugins)/[\w/.]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
