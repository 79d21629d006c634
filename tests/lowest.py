"""Test every distribution with the lowest versions that its pyproject.toml allows: `make lowest`.

Each one gets a fresh environment: its wheel and the host's, and every direct dependency at its lower bound. Its conformance kits
run there, without the sources of our packages in sight; with `--all` also the other tests that use its dependencies.
A bound is wrong if a test fails with it, if another version is installed for it, or if a supported Python has no wheel of it.
A kit of which no test passes has not run, which is a failure too: the servers that it needs must be installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Final, NamedTuple
from zipfile import Path as ZipPath

from packaging.requirements import Requirement
from packaging.version import Version

from benchmarks.environments import ROOT, Environment, bare, build_wheels, find_uv, run_command
from tests.kits.idle_kits import find_idle_kits

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = ("linux", "macos")
APART: Final = frozenset({"any-llm-sdk"})
"""Dependencies that exclude others of ours, and so are resolved by themselves: any-llm needs an older anthropic."""
TOOLS: Final = ("hypothesis", "pytest-timeout", "trio", "trustme")
"""What the tests need besides the host's extra `test`: the newest versions that fit the lowest ones of the rest."""
SHARED: Final = frozenset({"llmcore_host", "llmcore_testing"})
"""Packages that every environment gets."""


class Suite(NamedTuple):
    """The tests of one distribution."""

    name: str
    """`host`, or its folder under plugins/."""
    package: str
    kits: tuple[str, ...]
    """Patterns of files, from the root."""
    others: tuple[str, ...] = ()
    """Patterns of further files, for `--all`."""
    without: str = ""
    """What `pytest -k` leaves out: what needs more than Python packages, or takes long and hardly touches a dependency."""
    servers: str = ""
    """What `pytest -k` leaves out without `--all`: tests that spend most of their time in a server of another project."""
    marks: str = "not slow"
    tools: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    """Packages of other plugins that some of the tests use."""


SUITES: Final = (
    Suite(
        "storage_object",
        "llmcore_storage_object",
        kits=("plugins/storage_object/tests/**/test_*_conformance.py",),
        others=("plugins/storage_object/tests/**/test_*.py",),
        without="rclone",
        servers="moto or Moto",
        tools=("moto[server]",),
        companions=("llmcore_storage_fs",),
    ),
    Suite(
        "voice_espeak", "llmcore_voice_espeak", kits=("plugins/voice_espeak/tests/**/test_*_conformance.py",)
    ),
    Suite(
        "cache_memcached",
        "llmcore_cache_memcached",
        kits=("plugins/cache_memcached/tests/**/test_*_conformance.py",),
        others=("plugins/cache_memcached/tests/**/test_*.py",),
        companions=("llmcore_openai_optimized",),
    ),
    Suite(
        "engine_dask",
        "llmcore_engine_dask",
        kits=("plugins/engine_dask/tests/**/test_*_conformance.py",),
    ),
    Suite(
        "engine_ray",
        "llmcore_engine_ray",
        kits=("plugins/engine_ray/tests/**/test_*_conformance.py",),
    ),
    Suite(
        "ledger_postgres",
        "llmcore_ledger_postgres",
        kits=("plugins/ledger_postgres/tests/**/test_*_conformance.py",),
        others=("plugins/ledger_postgres/tests/**/test_*.py",),
    ),
    Suite(
        "cache_redis",
        "llmcore_cache_redis",
        kits=("plugins/cache_redis/tests/**/test_*_conformance.py",),
        others=("plugins/cache_redis/tests/**/test_*.py",),
        without="chaos or rights or watch or Handshakes",
        companions=("llmcore_openai_optimized",),
    ),
    Suite(
        "openai_optimized",
        "llmcore_openai_optimized",
        kits=("plugins/openai_optimized/tests/**/test_*_conformance.py",),
        others=("plugins/openai_optimized/tests/**/test_*.py",),
        without="retries",
        companions=("llmcore_voice_espeak",),
    ),
    Suite(
        "openai_compatible",
        "llmcore_openai_compatible",
        kits=("plugins/openai_compatible/tests/**/test_*_conformance.py",),
        others=("plugins/openai_compatible/tests/**/test_*.py",),
        companions=("llmcore_openai_optimized",),
    ),
    Suite(
        "any_llm",
        "llmcore_any_llm",
        kits=("plugins/any_llm/tests/**/test_*_conformance.py",),
        others=("plugins/any_llm/tests/**/test_*.py",),
        companions=("llmcore_openai_optimized",),
    ),
    Suite(
        "anthropic",
        "llmcore_anthropic",
        kits=("plugins/anthropic/tests/**/test_*_conformance.py",),
        others=("plugins/anthropic/tests/**/test_*.py",),
    ),
    Suite(
        "dashboard",
        "llmcore_dashboard",
        kits=("plugins/dashboard/tests/**/test_dashboard_app.py",),
        others=("plugins/dashboard/tests/**/test_*.py",),
        without="browser",
        tools=("httpx2",),
    ),
    Suite(
        "gateway",
        "llmcore_gateway",
        kits=("plugins/gateway/tests/**/test_gateway_endpoints.py",),
        others=("plugins/gateway/tests/**/test_*.py",),
        marks="",
        companions=("llmcore_anthropic", "llmcore_dashboard", "llmcore_openai_optimized"),
        tools=("httpx2",),
    ),
    Suite(
        "observer_otel",
        "llmcore_observer_otel",
        kits=("plugins/observer_otel/tests/**/test_*.py",),
        companions=("llmcore_anthropic", "llmcore_openai_optimized"),
    ),
    Suite(
        "voice_tts",
        "llmcore_voice_tts",
        kits=("plugins/voice_tts/tests/**/test_*_conformance.py",),
        others=("plugins/voice_tts/tests/**/test_*.py",),
        companions=("llmcore_voice_espeak",),
    ),
    Suite(
        "storage_fs",
        "llmcore_storage_fs",
        kits=("plugins/storage_fs/tests/**/test_*_conformance.py",),
        marks="",
    ),
    Suite(
        "host",
        "llmcore_host",
        kits=("tests/**/test_builtin_*.py",),
        others=tuple(f"tests/**/test_{part}_*.py" for part in ("calls", "config", "ledger")),
        marks="not slow and not process and not server",
        companions=("llmcore_openai_optimized", "llmcore_voice_tts"),
    ),
)
"""The longest first, so that two workers end together."""


class Bound(NamedTuple):
    """A direct dependency and the lowest version that it may have."""

    requirement: Requirement
    version: Version


def find_bounds(wheels: Sequence[Path]) -> list[Bound]:
    """Return the direct dependencies of *wheels*, with those of their extras, but not one wheel on another."""
    found: list[Bound] = []
    for path in wheels:
        (metadata,) = (each for each in ZipPath(path).iterdir() if each.name.endswith(".dist-info"))
        for line in PathDistribution(metadata).requires or []:
            requirement = Requirement(line)
            if requirement.name.startswith("llmcore-"):
                continue
            lowest = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
            if len(lowest) != 1:
                raise SystemExit(f"{path.name}: `{line}` must have one lower bound")
            requirement.marker = None  # extras are installed too; there is no other marker
            found.append(Bound(requirement, lowest[0]))
    return found


def check_wheels_exist(bounds: Sequence[Bound]) -> tuple[str, list[str]]:
    """Find bounds for which a supported Python has no wheel; return a summary, and what is wrong."""
    apart = [bound for bound in bounds if bound.requirement.name in APART]
    together = [bound for bound in bounds if bound not in apart]
    problems = [*_find_missing_wheels(together), *(_find_missing_wheels(apart) if apart else ())]
    return f"wheels: every bound for Python {', '.join(PYTHONS)} on {', '.join(PLATFORMS)}", problems


def _find_missing_wheels(bounds: Sequence[Bound]) -> list[str]:
    """Return what is wrong with *bounds*, which are resolved together."""
    lines = "\n".join(str(bound.requirement) for bound in bounds)
    problems = []
    for python in PYTHONS:
        for platform in PLATFORMS:
            command = [
                _uv(), "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate", "--only-binary", ":all:",
                "--resolution", "lowest-direct", "--python-version", python, "--python-platform", platform, "-",
            ]  # fmt: skip
            done = subprocess.run(
                command, input=lines, env=_make_env(), capture_output=True, text=True, check=False
            )
            where = f"Python {python} on {platform}"
            if done.returncode:
                problems.append(f"{where}: {done.stderr}")
            problems += [f"{where}: {each}" for each in find_differences(bounds, done.stdout)]
    return problems


def run_suite(suite: Suite, wheels: Path, folder: Path, *, everything: bool) -> tuple[str, list[str]]:
    """Run *suite* in its own environment; return a summary, and what is wrong."""
    began, tree = time.monotonic(), folder / "tree"
    environment = Environment.make(folder / suite.name)
    bounds, pinned = install_lowest(suite, environment, wheels, folder)
    kits, others = (_find_files(tree, patterns) for patterns in (suite.kits, suite.others))
    files = sorted({*kits, *(others if everything else ())})
    if not kits:
        return f"{suite.name}: no tests", [f"{suite.name}: no file matches {', '.join(suite.kits)}"]
    report = folder / f"{suite.name}.xml"
    command = [environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", suite.marks]
    command += [f"--junitxml={report}"]
    left_out = [names for names in (suite.without, "" if everything else suite.servers) if names]
    command += ["-k", f"not ({' or '.join(left_out)})"] if left_out else []
    done = subprocess.run(
        [*command, *files], cwd=tree, env=_make_env(environment), capture_output=True, text=True, check=False
    )
    problems = find_differences(bounds, pinned)
    if done.returncode:
        problems.append(done.stdout[-6000:] + done.stderr[-2000:])
    else:
        problems += find_idle_kits(report, kits)
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    return f"{suite.name}: {last}; {time.monotonic() - began:.0f} s in all", problems


def _find_files(tree: Path, patterns: Sequence[str]) -> list[str]:
    return sorted({str(path.relative_to(tree)) for pattern in patterns for path in tree.glob(pattern)})


def install_lowest(
    suite: Suite, environment: Environment, wheels: Path, folder: Path
) -> tuple[list[Bound], str]:
    """Install the wheels, the lowest dependencies and the tools; return the bounds, and the installed `name==version` lines."""
    packages = {*SHARED, suite.package, *suite.companions}
    own = [path for path in wheels.glob("*.whl") if path.name.partition("-")[0] in packages]
    bounds = find_bounds(own)
    pip = [_uv(), "pip", "install", "--quiet", "--no-config", "--only-binary", ":all:", "--python"]
    pip += [environment.python]
    requirements = sorted({str(bound.requirement) for bound in bounds})
    run_command([*pip, "--no-deps", *map(str, own)], cwd=folder)
    run_command([*pip, "--resolution", "lowest-direct", *requirements], cwd=folder)
    freeze = [_uv(), "pip", "freeze", "--quiet", "--python", environment.python]
    pinned = run_command(freeze, cwd=folder).stdout
    kept = folder / f"{suite.name}.txt"
    kept.write_text("\n".join(line for line in pinned.splitlines() if not line.startswith("llmcore-")))
    run_command([*pip, "--constraints", str(kept), "pytest", *TOOLS, *suite.tools], cwd=folder)
    return bounds, pinned


def copy_tests(into: Path) -> None:
    """Copy the tests and what they read to *into*, without our packages."""
    into.mkdir()
    for name in ("tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, into / name)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, into / name)
    for path in ROOT.glob("plugins/*/pyproject.toml"):
        to = into / path.parent.relative_to(ROOT)
        to.mkdir(parents=True)
        shutil.copy(path, to)
        if (path.parent / "tests").is_dir():
            shutil.copytree(path.parent / "tests", to / "tests")


def find_differences(bounds: Sequence[Bound], pinned: str) -> list[str]:
    """Return the bounds that differ from the versions in *pinned*, lines of `name==version`."""
    versions = dict(line.split("==") for line in pinned.splitlines() if "==" in line)
    return sorted(
        {
            f"{bound.requirement}: the lowest version that installs is {found}; make it the bound"
            for bound in bounds
            if (found := versions.get(_normalise(bound.requirement.name))) and Version(found) != bound.version
        }
    )


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv() -> str:
    if (uv := find_uv()) is None:
        raise SystemExit("the lowest versions need uv: make setup")
    return uv


def _make_env(environment: Environment | None = None) -> dict[str, str]:
    passed = ("UV_", "LLMCORE_", "HOME", "SSL_")
    kept = {name: value for name, value in os.environ.items() if name.startswith(passed)}
    kept.pop("LLMCORE_NO_SKIPS", None)  # the whole suite holds it; here some tools are absent on purpose
    kept.setdefault("UV_SYSTEM_CERTS", "1")
    env = bare(**kept)
    if environment is not None:
        env["PATH"] = f"{environment.bin}{os.pathsep}{env['PATH']}"
    return env


def main() -> int:
    """Run the suites, two at a time; return 1 if a bound is wrong."""
    description = __doc__.splitlines()[0] if __doc__ else None
    parser = argparse.ArgumentParser(prog="make lowest", description=description)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="`host` or a folder of plugins/; default: all"
    )
    parser.add_argument("--all", action="store_true", help="every test that uses a dependency, not only kits")
    args = parser.parse_args()
    known = [suite.name for suite in SUITES]
    for name in args.names:
        if name not in known:
            parser.error(f"NAME must be one of {', '.join(known)}, got {name!r}")
    suites = [suite for suite in SUITES if not args.names or suite.name in args.names]
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lowest-") as made, ThreadPoolExecutor(2) as pool:
        folder = Path(made)
        wheels = folder / "wheels"
        bounds = find_bounds(build_wheels(wheels))
        copy_tests(folder / "tree")
        runs = [pool.submit(run_suite, suite, wheels, folder, everything=args.all) for suite in suites]
        runs += [] if args.names else [pool.submit(check_wheels_exist, bounds)]
        for run in as_completed(runs):
            line, found = run.result()
            print("\n".join([line, *found]), flush=True)
            problems += found
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
