"""Virtual environments like those of users: installed from wheels, without access to the sources."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
BUILD = """
import os, sys
from hatchling.build import build_wheel
into, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    build_wheel(into)
"""
"""Builds all wheels in one process: importing hatchling takes longer than building a wheel."""


def build_wheels(into: Path) -> list[Path]:
    """Build the wheels of the host and of every plugin into the emptied folder *into*; return them."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    folders = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
    run_command([sys.executable, "-c", BUILD, str(into.absolute()), *map(str, folders)], cwd=ROOT)
    return sorted(into.glob("*.whl"))


@dataclass(frozen=True)
class Environment:
    """A virtual environment, created with uv if it is installed, else with venv and pip."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, python: str = sys.executable) -> Self:
        """Create an empty environment with the interpreter *python* in the emptied *folder*."""
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
        """The folder of its commands."""
        return self.folder / "bin"

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.bin / "python")

    def install(self, *what: str | Path, compiled: bool = False) -> None:
        """Install wheels and requirements. With *compiled*, also write the bytecode of all modules."""
        names = [str(name) for name in what]
        if uv := find_uv():
            command = [uv, "pip", "install", "--quiet", "--no-config", "--python", self.python, *names]
            command += ["--compile-bytecode"] if compiled else []
            # uv takes packages from its cache, which `uv sync` has filled, and downloads only missing ones.
            if run_command([*command, "--offline"], cwd=self.folder, check=False).returncode:
                run_command(command, cwd=self.folder)
        else:
            command = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *names]
            run_command([*command, "--compile" if compiled else "--no-compile"], cwd=self.folder)

    @property
    def packages(self) -> Path:
        """The folder of its installed packages."""
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def share_bytecode(self, *others: Path) -> None:
        """Link the bytecode that *others*, folders of packages for this Python, have of the same modules.

        Python ignores it where the source differs in date or size; uv gives all environments the same files.
        """
        for folder, _, names in os.walk(self.packages):
            if not any(name.endswith(".py") for name in names):
                continue
            cache = Path(folder, "__pycache__")
            cache.mkdir(exist_ok=True)
            for other in others:
                made = other / os.path.relpath(folder, self.packages) / cache.name
                for file in made.iterdir() if made.is_dir() else ():
                    with contextlib.suppress(OSError):  # there already, or on another file system
                        (cache / file.name).hardlink_to(file)

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run its interpreter with *cwd* as working directory and home; return the completed process."""
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
    """Return environment variables without the developer's: PATH and *more*."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **more}


def find_uv() -> str | None:
    """Return the path of uv; None if it is not installed."""
    own = ROOT / ".tools/bin/uv"
    return str(own) if own.is_file() else shutil.which("uv")


def run_command(command: Sequence[str], *, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run an installer without other environments. With *check*, a failure raises RuntimeError with the output."""
    # `make` sets UV_COMPILE_BYTECODE for .venv; elsewhere uv would compile thousands of modules that no test imports.
    astray = ("PYTHON", "VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT", "UV_COMPILE_BYTECODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(astray)}
    env.setdefault("UV_SYSTEM_CERTS", "1")
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done
