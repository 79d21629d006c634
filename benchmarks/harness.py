"""Compare several ways to do the same work, by the CPU time of new processes that run in alternating order."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.environments import Environment, bare, run_command


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the compared ways: a program for the interpreter of an environment."""

    name: str
    environment: Environment | str
    """The environment of the program, or the reason why it cannot run."""
    arguments: tuple[str, ...]
    """The arguments of the interpreter. `{calls}` is replaced by the number of calls."""
    env: Mapping[str, str] = field(default_factory=dict)
    at_most: float | None = None
    """The maximum ratio to the base that the design promises."""
    limit: float | None = None
    """The maximum figure that the design promises, in the row's unit. With a ratio, the amount that is added to it."""
    peer: bool = False
    """Whether it is another library. If it fails, its line says why, and the other sides are measured."""
    rounds: int | None = None
    """Maximum number of rounds, for a slow side."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The compared sides. The first one is the base of the ratios."""

    title: str
    sides: Sequence[Side]
    calls: tuple[int, int] | None = None
    """A small and a large number of calls. The difference of their CPU times does not contain the start-up."""
    rounds: int = 7
    unit: str | None = None
    """The name of the figure that each program prints in its last line; None to measure the CPU time of the process."""
    exact: bool = False
    """Whether the figures are counts, which need no warm-up and no ratio to the base."""


class Prepare(Protocol):
    """The type of the function `prepare` in the module of a row."""

    def __call__(self, shop: Workshop) -> AbstractContextManager[Row | Sequence[Row]]:
        """Set the row up, yield it, and clean up. It may yield several rows, each with its own base."""
        ...


class Workshop:
    """Creates the environments of the rows in a folder that git ignores, and reuses them in later runs."""

    def __init__(self, folder: Path, wheels: Sequence[Path], *, large: bool = False) -> None:
        self._folder = folder
        self._wheels = wheels
        self._host: Environment | None = None
        self.large = large
        """Whether to run measurements that take minutes."""

    def host(self) -> Environment:
        """Return an environment with wheels of the current sources.

        All but `any_llm`, which needs an older version of anthropic than the plugin of that name.
        """
        if self._host is None:
            self._host = Environment.make(self._folder / "llmcore")
            wheels = [wheel for wheel in self._wheels if not wheel.name.startswith("llmcore_any_llm-")]
            self._host.install(*wheels, compiled=True)
        return self._host

    def peer(self, *requirements: str) -> Environment:
        """Return an environment with only *requirements*."""
        name = "-".join(requirements).replace("/", "_")
        environment, made = Environment(self._folder / name), self._folder / f"{name}.made"
        if not made.exists():
            environment = Environment.make(self._folder / name)
            environment.install(*requirements, compiled=True)
            made.touch()
        return environment

    def rival(self, *requirements: str) -> Environment | str:
        """Return the environment as `peer` does, or the reason why it cannot be installed."""
        try:
            return self.peer(*requirements)
        except RuntimeError as error:
            return f"cannot be installed: {_get_last_line(str(error))}"

    def npm(self, package: str) -> Path | str:
        """Return the folder `node_modules` with *package* of npm and its dependencies, or the reason why it is missing."""
        folder = self._folder / f"npm-{package.replace('/', '_')}"
        options = ["--loglevel=error", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"]
        if not (folder / "node_modules").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                run_command(["npm", "install", *options, "--prefix", str(folder), package], cwd=folder)
            except (RuntimeError, OSError) as error:
                return f"cannot be installed: {_get_last_line(str(error))}"
        return folder / "node_modules"

    def sdk(self, distribution: str) -> Environment:
        """Return an environment with only *distribution*, in the version that the tests use."""
        return self.peer(f"{distribution}=={version(distribution)}")


def measure_cpu_seconds(side: Side, calls: int | None) -> float:
    """Run *side* once, in a new process and an empty home; return its CPU time, user and system.

    Raises:
        RuntimeError: It failed.
    """
    return _ran(side, calls)[0]


def _ran(side: Side, calls: int | None) -> tuple[float, str]:
    """Return the CPU time of a new process, and its output."""
    if isinstance(side.environment, str):
        raise RuntimeError(side.environment)  # noqa: TRY004 - it is the reason, not a wrong type
    arguments = [argument.replace("{calls}", str(calls)) for argument in side.arguments]
    with (
        tempfile.TemporaryDirectory(prefix="llmcore-bench-", ignore_cleanup_errors=True) as home,
        tempfile.TemporaryFile() as said,
    ):
        child = subprocess.Popen(
            [side.environment.python, *arguments],
            cwd=home,
            env=bare(HOME=home, **side.env),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        # wait4 returns the usage of this child and of its own children only
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        words = said.read().decode(errors="replace")
    if child.returncode:
        raise RuntimeError(f"{side.name} ended with {child.returncode}:\n{words}")
    return usage.ru_utime + usage.ru_stime, words


def _sample(side: Side, row: Row) -> float:
    if row.unit is not None:
        return float(_ran(side, None)[1].split()[-1])
    if row.calls is None:
        return measure_cpu_seconds(side, None) * 1e6
    few, many = row.calls
    return (measure_cpu_seconds(side, many) - measure_cpu_seconds(side, few)) / (many - few) * 1e6


def measure(row: Row, *, rounds: int | None = None) -> dict[str, Any]:
    """Measure *row*; return the results, ready for JSON. CPU times are in microseconds.

    A round runs each side once; every second round runs them in reverse order. A first round is not counted: it writes missing
    bytecode and warms the disk's cache.

    Raises:
        RuntimeError: Our side failed, or the base.
    """
    wanted = rounds or row.rounds
    seen: dict[str, list[float]] = {side.name: [] for side in row.sides}
    reasons: dict[str, str] = {}
    for number in range(0 if row.exact else -1, wanted):
        for side in row.sides if number % 2 else reversed(row.sides):
            if side.name in reasons or number >= (side.rounds or wanted) or (number < 0 and side.rounds):
                continue
            try:
                sample = _sample(side, row)
            except RuntimeError as error:
                if not side.peer:
                    raise
                reasons[side.name] = _get_last_line(str(error))
                continue
            if number >= 0:
                seen[side.name].append(sample)
    if reason := reasons.get(row.sides[0].name):
        raise RuntimeError(f"{row.sides[0].name}, the base of the ratios, failed: {reason}")
    base = median(seen[row.sides[0].name])
    return {
        "title": row.title,
        "unit": row.unit or ("us of CPU a call" if row.calls else "us of CPU a process"),
        "rounds": wanted,
        "sides": [
            {"name": side.name, "reason": reasons[side.name]}
            if side.name in reasons
            else {
                "name": side.name,
                "median": round(median(seen[side.name]), 3),
                "lowest": round(min(seen[side.name]), 3),
                "highest": round(max(seen[side.name]), 3),
                "ratio": round(median(seen[side.name]) / base, 3),
                "base": round(base, 3),
                "at_most": side.at_most,
                "limit": side.limit,
            }
            for side in row.sides
        ],
    }


def render_table(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a readable table."""
    yield f"{result['title']}: {result['unit']}, median of {result['rounds']} rounds"
    width = max(len(side["name"]) for side in result["sides"])
    for side in result["sides"]:
        line = f"  {side['name']:<{width}}  "
        if "reason" in side:
            yield f"{line}no figure: {side['reason']}"
            continue
        line += f"{_format_figure(side['median']):>11}  {side['ratio']:>7.2f}x"
        line += f"  ({_format_figure(side['lowest'])} to {_format_figure(side['highest'])})"
        yield line + _format_verdict(side)


def _format_verdict(side: Mapping[str, Any]) -> str:
    """Return whether *side* is within the promise of the design; an empty text if there is no promise."""
    at_most, limit = side["at_most"], side["limit"]
    if at_most is None and limit is None:
        return ""
    bound_text = " + ".join(
        [*([] if at_most is None else [f"{at_most}x"]), *([] if limit is None else [f"{limit}"])]
    )
    most = _compute_bound(at_most, limit, side["base"])
    if side["median"] <= most:
        return f"  within {bound_text}"
    over = side["ratio"] - at_most if limit is None else side["median"] - most
    return f"  OVER {bound_text} by {_format_figure(over)}{'x' if limit is None else ''}"


def _compute_bound(at_most: float | None, limit: float | None, base: float) -> float:
    return (at_most or 0.0) * base + (limit or 0.0)


def _format_figure(figure: float) -> str:
    """Return *figure* with three digits, or with all digits before the decimal point."""
    return f"{figure:,.{max(0, 2 - len(str(int(figure))) + 1)}f}"


def _get_last_line(text: str) -> str:
    return text.strip().splitlines()[-1][:300]


def describe_machine() -> dict[str, Any]:
    """Return the facts about the machine that the figures depend on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load": load,
    }
