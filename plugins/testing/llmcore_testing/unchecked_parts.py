"""At the end of a run of pytest, list the parts that the conformance kits did not check."""

from __future__ import annotations

from typing import Final

import pytest

__all__ = ["NOT_CHECKED", "list_not_checked"]

NOT_CHECKED: Final = "not checked: "
"""A skip reason begins with this text if the test was skipped because its class does not define an optional fixture."""


def list_not_checked(reporter: pytest.TerminalReporter) -> None:
    """Write one line for each missing fixture, with the test classes that lack it."""
    missing: dict[str, set[str]] = {}
    for report in reporter.stats.get("skipped", []):
        reason = str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else ""
        if NOT_CHECKED in reason:
            kit = report.nodeid.split("::")[-2]
            missing.setdefault(reason.partition(NOT_CHECKED)[2], set()).add(kit)
    if missing:
        reporter.section("llmcore: not checked by the conformance kits")
        for reason, kits in sorted(missing.items()):
            reporter.line(f"{', '.join(sorted(kits))}: {reason}")
