"""Every distribution of the workspace: its names, its versions, its metadata, and how light its plugin module is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [
    path for path in sorted((ROOT / "plugins").iterdir()) if path.is_dir() and path.name != "__pycache__"
]
PROJECTS = [ROOT, *FOLDERS]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LICENCES = {"voice_espeak": "GPL-3.0-or-later"}
"""For distributions with another licence than the host: what they load has it too, and no other distribution needs them."""
APART = {"engine_ray"}
"""What .venv lacks, because its SDK is too large. `make ray` makes an environment with it."""
KINDS = ("llm", "cache", "storage", "voice", "ledger", "engines", "observers")
PLUGINS = [folder for folder in FOLDERS if folder.name != "testing"]
"""Those that offer providers; llmcore-testing offers pytest fixtures."""

# Prints what importing a plugin's module brought with it, besides the standard library.
PROBE = """
import sys, json
before = set(sys.modules)
module = __import__(sys.argv[1], fromlist=["plugin"])
brought = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps([module.LLMCORE_API, sorted(brought)]))
"""


def read(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def requirements(project: dict[str, Any]) -> list[str]:
    lists = [project["project"]["dependencies"], project["build-system"]["requires"]]
    lists += project["project"].get("optional-dependencies", {}).values()
    lists += project.get("dependency-groups", {}).values()
    return [line for names in lists for line in names]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_distribution_and_package_have_one_name(folder: Path) -> None:
    name = folder.name
    package = f"llmcore_{name}"
    project = read(folder)
    assert project["project"]["name"] == f"llmcore-{name.replace('_', '-')}"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [package]
    assert (folder / package / "__init__.py").is_file()


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_every_entry_point_of_a_plugin_is_its_plugin_module(folder: Path) -> None:
    package = f"llmcore_{folder.name}"
    assert (folder / package / "plugin.py").is_file()
    points = read(folder)["project"]["entry-points"]
    values = {value for kind in (*KINDS, "tables") for value in points.get(f"llmcore.{kind}", {}).values()}
    assert values == {f"{package}.plugin"}
    assert {group for group in points if group.startswith("llmcore.")} <= {
        f"llmcore.{kind}" for kind in (*KINDS, "commands", "tables")
    }


@pytest.mark.parametrize("folder", PROJECTS, ids=["host", *(folder.name for folder in FOLDERS)])
def test_every_project_may_not_be_uploaded_and_needs_the_same_python(folder: Path) -> None:
    project = read(folder)["project"]
    assert "Private :: Do Not Upload" in project["classifiers"]
    assert "Typing :: Typed" in project["classifiers"]
    assert project["authors"] == read(ROOT)["project"]["authors"]
    assert {f"Programming Language :: Python :: {each}" for each in PYTHONS} <= {*project["classifiers"]}
    assert (project["license"], project["requires-python"]) == (LICENCES.get(folder.name, "MIT"), ">=3.11")


@pytest.mark.parametrize("folder", PROJECTS, ids=["host", *(folder.name for folder in FOLDERS)])
def test_every_distribution_carries_its_papers(folder: Path) -> None:
    package = "llmcore" if folder == ROOT else f"llmcore_{folder.name}"
    papers = [folder / "README.md", folder / "LICENSE", folder / package / "py.typed"]
    if folder == ROOT:
        papers += [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    assert [str(paper) for paper in papers if not paper.is_file()] == []
    own = (folder / "LICENSE").read_bytes() != (ROOT / "LICENSE").read_bytes()
    assert own == (folder.name in LICENCES)


def test_no_distribution_depends_on_another_licence() -> None:
    others = {f"llmcore-{name.replace('_', '-')}" for name in LICENCES}
    lines = [line for folder in PROJECTS for line in read(folder)["project"]["dependencies"]]
    extras = [
        line
        for folder in PROJECTS
        for lines in read(folder)["project"].get("optional-dependencies", {}).values()
        for line in lines
    ]
    assert [line for line in lines + extras if re.split(r"[^\w-]", line)[0] in others] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_plugin_fits_this_minor_version_of_the_host(folder: Path) -> None:
    major, minor, *_ = read(ROOT)["project"]["version"].split(".")
    expected = f"llmcore-host>={major}.{minor},<{major}.{int(minor) + 1}"
    assert expected in read(folder)["project"]["dependencies"]
    assert read(folder)["project"]["version"].split(".")[:2] == [major, minor]


@pytest.mark.parametrize("folder", PROJECTS, ids=["host", *(folder.name for folder in FOLDERS)])
def test_no_distribution_depends_on_the_foreign_llmcore(folder: Path) -> None:
    assert [line for line in requirements(read(folder)) if re.match(r"llmcore(?![\w-])", line)] == []


def test_no_text_recommends_the_foreign_llmcore() -> None:
    install = re.compile(r"""(?:pip|pipx|uv|tool) (?:install|add)(?: -\S+)* ["'`]?llmcore(?![-\w/])""")
    texts = [path for pattern in ("*.md", "docs/**/*.md", "plugins/*/*.md", "llmcore/**/*.py", "plugins/*/llmcore_*/**/*.py")
             for path in ROOT.glob(pattern)]  # fmt: skip
    assert install.search("pip install llmcore")
    assert not install.search("pip install llmcore-host ./llmcore")
    assert [str(path) for path in texts if install.search(path.read_text())] == []


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugins_module_imports_no_sdk(folder: Path) -> None:
    package = f"llmcore_{folder.name}"
    done = subprocess.run(
        [sys.executable, "-c", PROBE, f"{package}.plugin"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(folder) if folder.name in APART else ""},
    )
    assert done.returncode == 0, done.stderr
    version, brought = json.loads(done.stdout)
    assert version == 1
    # the host, its dependencies, and a plugin of ours that this one builds on; msgspec looks for typing_extensions
    ours = {line.partition(">")[0].replace("-", "_") for line in read(folder)["project"]["dependencies"]}
    base = {name for name in ours if name.startswith("llmcore_")}
    assert set(brought) <= {"llmcore", "msgspec", "pluggy", "typing_extensions", package, *base}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_workspace_knows_every_plugin(folder: Path) -> None:
    root, distribution = read(ROOT), f"llmcore-{folder.name.replace('_', '-')}"
    assert root["tool"]["uv"]["sources"][distribution] == {"workspace": True}
    assert (distribution in root["dependency-groups"]["plugins"]) == (folder.name not in APART)
    assert f"$MYPY_CONFIG_FILE_DIR/plugins/{folder.name}" in root["tool"]["mypy"]["mypy_path"]
    assert f"llmcore_{folder.name}" in root["tool"]["ruff"]["lint"]["isort"]["known-first-party"]


def test_no_lock_file_is_committed_since_it_would_name_registries() -> None:
    assert "uv.lock" in (ROOT / ".gitignore").read_text().splitlines()


def test_test_files_have_unique_names_and_plugins_have_no_conftest() -> None:
    names = [path.name for path in ROOT.glob("tests/**/test_*.py")] + [
        path.name for path in ROOT.glob("plugins/*/tests/**/*.py")
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert "conftest.py" not in names
