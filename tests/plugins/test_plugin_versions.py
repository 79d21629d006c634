"""A plugin that was built as a wheel for an older version of the hooks loads, or the error says exactly why not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import llmcore
from tests.kits.cli import CommandLine
from tests.kits.once import make_once

HOST = Path(llmcore.__file__).parent
PROGRAM = """
import llmcore
with llmcore.load({"llm": {"provider": "acme"}}) as core:
    print(core.llm.chat("Hello").text)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the plugin that `plugins new` writes, once."""
    return make_once(tmp_path_factory, "versions-wheel", _build)


def _build(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    assert CommandLine(folder)("plugins", "new", "acme", "--kind", "llm").returncode == 0
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=folder / "llmcore-acme", check=True, capture_output=True, timeout=100,
    )  # fmt: skip


def make_host(folder: Path, api: int, oldest: int, changes: str) -> Path:
    """Return a folder with a host of another version of the hooks: a copy, with three lines changed."""
    package = folder / "llmcore"
    shutil.copytree(HOST, package, ignore=shutil.ignore_patterns("__pycache__"))
    file = package / "hookspecs.py"
    text = file.read_text()
    for name, value in (
        ("API_VERSION: Final", api),
        ("OLDEST_API: Final", oldest),
        ("API_CHANGES: Final[Mapping[int, str]]", changes),
    ):
        text, count = re.subn(rf"^{re.escape(name)} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    file.write_text(text)
    builtin = package / "builtin" / "plugin.py"
    builtin.write_text(
        re.sub(r"^LLMCORE_API = 1$", f"LLMCORE_API = {api}", builtin.read_text(), flags=re.MULTILINE)
    )
    return folder


def run(wheel: Path, folder: Path, host: Path | None, *options: str) -> subprocess.CompletedProcess[str]:
    site = folder / "site"
    (file,) = wheel.glob("*.whl")
    with ZipFile(file) as archive:
        archive.extractall(site)
    path = os.pathsep.join(str(each) for each in (host, site) if each is not None)
    return subprocess.run(
        [sys.executable, *options, "-c", PROGRAM], cwd=folder, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_a_plugin_of_the_same_version_loads_without_a_warning(wheel: Path, tmp_path: Path) -> None:
    done = run(wheel, tmp_path, None, "-W", "error::DeprecationWarning")
    assert done.stdout == "You said: Hello\n", done.stderr


def test_a_plugin_of_an_older_version_loads_and_the_warning_says_what_changed(
    wheel: Path, tmp_path: Path
) -> None:
    host = make_host(tmp_path / "host", 2, 1, '{2: "rename `create` to `open`"}')
    done = run(wheel, tmp_path, host, "-W", "always::DeprecationWarning")
    assert done.stdout == "You said: Hello\n", done.stderr
    assert (
        "version 1 of the hooks, for which plugin `llmcore-acme 0.1.0` was built, is deprecated and will be removed in "
        "the next version of the hooks: use LLMCORE_API = 2 (version 2: rename `create` to `open`)"
    ) in done.stderr


def test_a_plugin_that_is_too_old_is_refused_with_what_changed(wheel: Path, tmp_path: Path) -> None:
    host = make_host(tmp_path / "host", 3, 2, '{2: "rename `create` to `open`", 3: "return a list"}')
    done = run(wheel, tmp_path, host)
    assert done.returncode == 1
    for line in (
        "plugin `llmcore-acme 0.1.0` was built for version 1 of the hooks, but this host has version 3",
        "= expected: LLMCORE_API = 3, or from 2",
        "= note: version 2: rename `create` to `open`",
        "= note: version 3: return a list",
        "= fix: pip install --upgrade llmcore-acme",
    ):
        assert line in done.stderr, done.stderr
