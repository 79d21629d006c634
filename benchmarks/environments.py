"""Environments as users have them: made from wheels, in folders of their own, without the sources in sight."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]


def build_wheels(into: Path) -> list[Path]:
    """Build the wheel of the host and of every plugin into *into*, which is emptied; return them."""
    shutil.rmtree(into, ignore_errors=True)
    for folder in [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into.absolute())]
        run_command(command, cwd=folder)
    return sorted(into.glob("*.whl"))


@dataclass(frozen=True)
class Environment:
    """A virtual environment, made and filled with uv where there is one, else with venv and pip."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, python: str = sys.executable) -> Self:
        """Make an empty one with the interpreter *python*; what was in *folder* is removed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if uv := find_uv():
            run_command(
                [uv, "venv", "--quiet", "--no-config", "--python", python, str(folder)], cwd=folder.parent
            )
        else:
            run_command([python, "-m", "venv", str(folder)], cwd=folder.parent)
        return cls(folder)

    @property
    def bin(self) -> Path:
        """Where its commands lie."""
        return self.folder / "bin"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.bin / "python")

    def install(self, *what: str | Path, compiled: bool = False) -> None:
        """Install wheels and requirements; *compiled* writes the bytecode of all modules now."""
        names = [str(name) for name in what]
        if uv := find_uv():
            command = [uv, "pip", "install", "--quiet", "--no-config", "--python", self.python, *names]
            command += ["--compile-bytecode"] if compiled else []
            # uv's cache has what `uv sync` has just fetched: the network is asked only where it has not.
            if run_command([*command, "--offline"], cwd=self.folder, check=False).returncode:
                run_command(command, cwd=self.folder)
        else:
            command = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *names]
            run_command([*command, "--compile" if compiled else "--no-compile"], cwd=self.folder)

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run its interpreter in *cwd*, which is its home too; return what became of it."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env=bare(HOME=str(cwd), **(env or {})),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


def bare(**more: str) -> dict[str, str]:
    """Return an environment without a trace of the developer's: the path to commands, and *more*."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **more}


def find_uv() -> str | None:
    """Return the path of uv, None if it is not installed."""
    own = ROOT / ".tools/bin/uv"
    return str(own) if own.is_file() else shutil.which("uv")


def run_command(command: Sequence[str], *, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run an installer, away from other environments; with *check*, a failure raises RuntimeError with what it printed."""
    astray = ("PYTHON", "VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT")
    env = {name: value for name, value in os.environ.items() if not name.startswith(astray)}
    env.setdefault("UV_SYSTEM_CERTS", "1")
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done
