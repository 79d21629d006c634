"""Pytest fixtures for applications that use llmcore; loads nothing until one of them is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmcore_testing.simulator import Simulator

__all__ = ["llmcore_simulator", "pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that gives a simulator its settings."""
    config.addinivalue_line(
        "markers",
        "llmcore_simulator(**settings): settings of the fixture of that name, as `llmcore_testing.Simulator` "
        "takes them.",
    )


@pytest.fixture
def llmcore_simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Start a simulator for this test, and close it afterwards."""
    from llmcore_testing.simulator import Simulator

    marker = request.node.get_closest_marker("llmcore_simulator")
    with Simulator(**(marker.kwargs if marker else {})) as upstream:
        yield upstream
