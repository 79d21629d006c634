"""Pytest fixtures for applications that use llmcore. A fixture imports the simulator at its first use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmcore_testing.simulator import Simulator

__all__ = ["llmcore_simulator", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that passes settings to the simulator of a test."""
    config.addinivalue_line(
        "markers",
        "llmcore_simulator(**settings): arguments of `llmcore_testing.Simulator` for the fixture llmcore_simulator.",
    )


@pytest.fixture
def llmcore_simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Start a simulator for this test, and close it afterwards."""
    from llmcore_testing.simulator import Simulator

    marker = request.node.get_closest_marker("llmcore_simulator")
    with Simulator(**(marker.kwargs if marker else {})) as upstream:
        yield upstream
