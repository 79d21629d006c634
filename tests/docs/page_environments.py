"""Creates the environment of a page: only the packages of its install lines, from wheels."""

from __future__ import annotations

import hashlib
import re
import shlex
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.environments import Environment
from tests.kits.once import make_once

DEVELOPERS = Path(sysconfig.get_path("purelib"))
"""The packages of the environment that runs the tests; `make setup` compiles them."""
LINE = re.compile(r"^(?:\$ )?(?:python -m )?pip install (.+)$")
FOLDER = re.compile(r"(?P<folder>\.(?:/plugins/\w+)?)(?P<extras>\[[\w,-]+\])?")


def find_requirements(commands: Sequence[str]) -> list[str]:
    """Return what the install lines among *commands* install, without `-e FOLDER`: the page itself made that folder."""
    return sorted({word for command in commands for word in _split_words(command)} | {"."})


def _split_words(command: str) -> Iterator[str]:
    if line := LINE.match(command):
        words = iter(shlex.split(line[1], comments=True))
        for word in words:
            if word == "-e":
                next(words)
            else:
                yield word


def _use_wheels(requirement: str, wheels: Sequence[Path]) -> str:
    """Return *requirement* with the wheel in place of a folder of this repository."""
    if not (ours := FOLDER.fullmatch(requirement)):
        return requirement
    name = "llmcore_host" if ours["folder"] == "." else f"llmcore_{Path(ours['folder']).name}"
    (wheel,) = [wheel for wheel in wheels if wheel.name.startswith(f"{name}-")]
    return f"{name.replace('_', '-')}{ours['extras'] or ''} @ {wheel.as_uri()}"


def make_environment(
    requirements: Sequence[str], wheels: Sequence[Path], factory: pytest.TempPathFactory
) -> Environment:
    """Return an environment with *requirements*; pages that install the same share one."""
    digest = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:12]
    found = [_use_wheels(requirement, wheels) for requirement in requirements]

    def make(folder: Path) -> None:
        environment = Environment.make(folder)
        environment.install(*found)
        environment.share_bytecode(compile_ours(wheels, factory), DEVELOPERS)

    return Environment(make_once(factory, f"page-{digest}", make))


def compile_ours(wheels: Sequence[Path], factory: pytest.TempPathFactory) -> Path:
    """Return the packages of an environment that has the bytecode of all *wheels*, made once for all workers."""
    folder = make_once(
        factory,
        "bytecode",
        lambda folder: Environment.make(folder).install("--no-deps", *wheels, compiled=True),
    )
    return Environment(folder).packages
