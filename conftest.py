"""Marks tests by what their file uses, gives them folders, and turns skips into failures if `LLMCORE_NO_SKIPS` is set.

`process` and `server` are read from the source of a test file, so that they cannot be forgotten; `slow` is written at the
test. `make quick` leaves out all three. A full machine has no excuse to skip a test.
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import itertools
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

MARKS: Final = {
    "process": re.compile(
        r"\b(?:subprocess|multiprocessing|pty|fork|Popen|CommandLine|build_wheels|wheels|kits\.runner|kits\.forks|espeak)\b"
    ),
    "server": re.compile(
        r"\b(?:RedisServer|find_redis_server|MemcachedServer|PostgresServer|llmcore_postgres|kits\.ledgers|kits\.object_servers|kits\.redis_tls|moto|rclone|LLMCORE_AIMOCK|playwright|kits\.fleet)\b"
    ),
}
"""Texts in the source of test files that start processes, or servers of other projects."""

settings.register_profile(
    "llmcore", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", parent=settings.get_profile("llmcore"), derandomize=False)
settings.load_profile("llmcore")
"""A busy machine is not a failure, and each run uses the same examples. `--hypothesis-profile=explore` tries others."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector, and let it pass over all that exists then.

    It would go through 18,000 tests and all SDKs again and again: half of the time of the collection.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def test_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Count the folders of the tests of one worker."""
    parent = tmp_path_factory.mktemp("tests")
    return (parent / str(number) for number in itertools.count())


@pytest.fixture
def test_folder(test_folders: Iterator[Path]) -> Path:
    """Make a folder for the folders of one test.

    pytest lists all its folders to number another one: the 5,000 tests of a worker would spend minutes on that.
    """
    folder = next(test_folders)
    folder.mkdir()
    return folder


@pytest.fixture
def tmp_path(test_folder: Path) -> Path:
    """Make an empty folder for the test."""
    folder = test_folder / f"tmp{test_folder.name}"
    folder.mkdir()
    return folder


@functools.cache
def _marks_of(file: Path) -> tuple[str, ...]:
    text = file.read_text(encoding="utf-8")
    return tuple(name for name, pattern in MARKS.items() if pattern.search(text))


APART: Final = {"engine_ray": "ray"}
"""Plugins that are not in .venv, and their SDK. `make ray` and `make lowest` have environments with it."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose marks `-m "not a and not b"` leaves out: that would take as long as the tests that run.

    Leave out the tests of a plugin whose SDK is not installed: they do not count as skipped, because another run has them.
    """
    for plugin, sdk in APART.items():
        if collection_path.match(f"plugins/{plugin}/tests") and importlib.util.find_spec(sdk) is None:
            return True
    terms = config.option.markexpr.split(" and ")
    if not collection_path.match("test_*.py") or not all(re.fullmatch(r"not \w+", term) for term in terms):
        return None
    left_out = {term.removeprefix("not ") for term in terms}
    return True if left_out.intersection(_marks_of(collection_path)) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what its file uses."""
    for item in items:
        for name in _marks_of(item.path):
            item.add_marker(name)


def _list_skipped(config: pytest.Config) -> list[pytest.TestReport | pytest.CollectReport]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return list(reporter.stats.get("skipped", [])) if reporter and os.environ.get("LLMCORE_NO_SKIPS") else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that would have passed, for its skips."""
    if session.exitstatus == pytest.ExitCode.OK and _list_skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List the skipped tests with their reasons."""
    if skipped := _list_skipped(config):
        terminalreporter.section("LLMCORE_NO_SKIPS is set: every skip is a failure", red=True)
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            terminalreporter.line(f"{report.nodeid}: {reason}")
