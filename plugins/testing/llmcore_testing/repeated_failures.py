"""Shortens the reports of tests that fail for the same cause, such as a provider that cannot be created."""

from __future__ import annotations

from typing import Any, Final

import pytest

__all__ = ["shorten_repeat"]

_FIRST: Final = pytest.StashKey[dict[tuple[str, int, str], str]]()
"""Path, line and message of an exception -> the first test that failed with it."""


def shorten_repeat(item: pytest.Item, report: pytest.TestReport) -> None:
    """Replace the traceback of a kit's test by one line if an earlier test raised the same exception at the same line."""
    crash: Any = getattr(report.longrepr, "reprcrash", None)
    if crash is None or not hasattr(getattr(item, "cls", None), "lacks"):
        return
    seen = item.config.stash.setdefault(_FIRST, {})
    first = seen.setdefault((crash.path, crash.lineno, crash.message), item.nodeid)
    if first != item.nodeid:
        cause = (crash.message.splitlines() or [""])[0]
        report.longrepr = f"the same cause as in {first.rpartition('::')[2]}: {cause}"
