"""Measures two or more ways to do one thing: fresh processes, taken in turn, by the CPU time that they cost."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.environments import Environment, bare


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to do it: a program for the interpreter of an environment."""

    name: str
    environment: Environment
    arguments: tuple[str, ...]
    """What the interpreter is given; `{calls}` in them is replaced by a number of calls."""
    env: Mapping[str, str] = field(default_factory=dict)
    at_most: float | None = None
    """The ratio to the base that the design promises."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Sides to compare. The first one is the base of every ratio."""

    title: str
    sides: Sequence[Side]
    calls: tuple[int, int] | None = None
    """Measure each side with so few and with so many calls: the difference is the calls' own, start-up cancels."""
    rounds: int = 7


class Prepare(Protocol):
    """What the module of a row offers as `prepare`."""

    def __call__(self, shop: Workshop) -> AbstractContextManager[Row]:
        """Make what the row needs, yield it, and clear up."""
        ...


class Workshop:
    """Makes the environments of the rows, below one folder that git ignores, and keeps them for the next time."""

    def __init__(self, folder: Path, wheels: Sequence[Path]) -> None:
        self._folder = folder
        self._wheels = wheels
        self._host: Environment | None = None

    def host(self) -> Environment:
        """Return an environment with our wheels, as they are now."""
        if self._host is None:
            self._host = Environment.make(self._folder / "llmcore")
            self._host.install(*self._wheels, compiled=True)
        return self._host

    def peer(self, *requirements: str) -> Environment:
        """Return an environment with *requirements* alone."""
        name = "-".join(requirements).replace("/", "_")
        environment, made = Environment(self._folder / name), self._folder / f"{name}.made"
        if not made.exists():
            environment = Environment.make(self._folder / name)
            environment.install(*requirements, compiled=True)
            made.touch()
        return environment

    def version(self, distribution: str) -> str:
        """Return the version of *distribution* that our wheels brought: a peer of the same is a fair one."""
        code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
        done = self.host().run("-c", code, distribution, cwd=self._folder)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


def cpu_seconds(side: Side, calls: int | None) -> float:
    """Run *side* once, in a new process and an empty home; return its CPU time, user and system.

    Raises:
        RuntimeError: It failed.
    """
    arguments = [argument.replace("{calls}", str(calls)) for argument in side.arguments]
    with tempfile.TemporaryDirectory(prefix="llmcore-bench-") as home, tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [side.environment.python, *arguments],
            cwd=home,
            env=bare(HOME=home, **side.env),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        # wait4 tells what this child and its own children used, and nobody else.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{side.name} ended with {child.returncode}:\n{said.read().decode()}")
    return usage.ru_utime + usage.ru_stime


def _sample(side: Side, calls: tuple[int, int] | None) -> float:
    if calls is None:
        return cpu_seconds(side, None)
    few, many = calls
    return (cpu_seconds(side, many) - cpu_seconds(side, few)) / (many - few)


def measure(row: Row, *, rounds: int | None = None) -> dict[str, Any]:
    """Measure *row*; return what was seen, ready for JSON. CPU times are in microseconds.

    Every round takes each side once, every second one in the reverse order. One round before them is not
    counted: it writes what bytecode is missing and warms the disk's cache.
    """
    wanted = rounds or row.rounds
    seen: dict[str, list[float]] = {side.name: [] for side in row.sides}
    for number in range(-1, wanted):
        for side in row.sides if number % 2 else reversed(row.sides):
            sample = _sample(side, row.calls) * 1e6
            if number >= 0:
                seen[side.name].append(sample)
    base = median(seen[row.sides[0].name])
    return {
        "title": row.title,
        "unit": "us of CPU a call" if row.calls else "us of CPU a process",
        "rounds": wanted,
        "sides": [
            {
                "name": side.name,
                "median": round(median(seen[side.name]), 1),
                "lowest": round(min(seen[side.name]), 1),
                "highest": round(max(seen[side.name]), 1),
                "ratio": round(median(seen[side.name]) / base, 3),
                "at_most": side.at_most,
            }
            for side in row.sides
        ],
    }


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table for people."""
    yield f"{result['title']}: {result['unit']}, median of {result['rounds']} rounds"
    width = max(len(side["name"]) for side in result["sides"])
    for side in result["sides"]:
        line = f"  {side['name']:<{width}}  {side['median']:>11,.1f}  {side['ratio']:>7.2f}x"
        line += f"  ({side['lowest']:,.0f} to {side['highest']:,.0f})"
        if side["at_most"] is not None:
            held = side["ratio"] <= side["at_most"]
            line += f"  {'within' if held else 'OVER'} {side['at_most']}x"
        yield line


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": load,
    }
