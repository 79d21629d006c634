"""Run only the test that finds the fault of a broken backend; `run_kit` loads it in the process of the kit."""

from __future__ import annotations

import json
import os
from collections.abc import Generator

import pytest

FOUND_BY: dict[str, tuple[str, str]] = json.loads(os.environ["KIT_FOUND_BY"])
"""Class -> name of the test that must fail, and words of its failure."""
_found: set[str] = set()


def _backend(item: pytest.Item) -> str:
    return item.nodeid.split("::")[1].removeprefix("Test")


def _is_needed(item: pytest.Item) -> bool:
    test, _ = FOUND_BY.get(_backend(item), ("", ""))
    return not test or item.name.partition("[")[0] == test


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.hook.pytest_deselected(items=[item for item in items if not _is_needed(item)])
    items[:] = [item for item in items if _is_needed(item)]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _backend(item) in _found:
        pytest.skip("the fault of this backend is found")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _, words = FOUND_BY.get(_backend(item), ("", ""))
    if report.failed and words and words in report.longreprtext:
        _found.add(_backend(item))
    return report
