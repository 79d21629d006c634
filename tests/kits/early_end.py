"""Skips the other tests of a broken backend once its fault is found; `run_kit` loads it in the process of the kit."""

from __future__ import annotations

import json
import os
from collections.abc import Generator

import pytest

FOUND_BY: dict[str, str] = json.loads(os.environ["KIT_FOUND_BY"])
"""Class -> words of the failure that proves that the kit finds its fault."""
_found: set[str] = set()


def _backend(item: pytest.Item) -> str:
    return item.nodeid.split("::")[1].removeprefix("Test")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _backend(item) in _found:
        pytest.skip("the fault of this backend is found")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    reason = FOUND_BY.get(_backend(item))
    if report.failed and reason is not None and reason in report.longreprtext:
        _found.add(_backend(item))
    return report
