"""Every Python that is found here, from 3.11 up, runs the host from its wheel; the running one always is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.environments import Environment

ECHO = """
import llmcore
with llmcore.load({"llm": {"provider": "echo"}, "cache": {"provider": "memory"}}) as core:
    first, again = core.llm.chat("Hello"), core.llm.chat("Hello")
assert first.text == again.text and again.cached and not first.cached, (first, again)
"""


def _list_folders() -> Iterator[Path]:
    for name in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(name)
        if name.endswith("shims"):  # pyenv's: they lead only to the versions that are switched on
            yield from Path(name).parent.glob("versions/*/bin")
    yield from Path("~/.local/share/uv/python").expanduser().glob("*/bin")


def find_interpreters() -> dict[str, str]:
    """Return one interpreter of each minor version, the running one first: version -> path."""
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    for folder in _list_folders():
        for path in sorted(folder.glob("python3.*")):
            version = path.name.removeprefix("python")
            fits = re.fullmatch(r"3\.(\d+)", version)
            if fits and int(fits[1]) >= 11 and version not in found and _can_run(path):
                found[version] = str(path)
    return found


def _can_run(path: Path) -> bool:
    probe = "import sys, venv, ssl; sys.exit(sys.implementation.name != 'cpython')"
    return subprocess.run([path, "-c", probe], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("version", "python"),
    [pytest.param(version, python, id=version) for version, python in find_interpreters().items()],
)
def test_an_interpreter_runs_the_host(version: str, python: str, wheels: list[Path], tmp_path: Path) -> None:
    environment = Environment.make(tmp_path / "venv", python=python)
    environment.install(next(wheel for wheel in wheels if wheel.name.startswith("llmcore_host-")))
    assert environment.run("--version", cwd=tmp_path).stdout.startswith(f"Python {version}.")
    done = environment.run("-W", "error", "-c", ECHO, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
