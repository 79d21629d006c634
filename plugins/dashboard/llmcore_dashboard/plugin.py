"""Declare the table `[dashboard]`."""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.hookspecs import Table, hookimpl
from llmcore_dashboard.options import DashboardOptions

__all__ = ["LLMCORE_API", "DashboardOptions"]

LLMCORE_API = 1


@hookimpl
def llmcore_tables() -> Iterable[Table]:
    """Declare `[dashboard]`."""
    yield Table(name="dashboard", options=DashboardOptions)
