"""Pytest fixtures for applications that use llmcore. A fixture imports its tools only when a test uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from llmcore_testing.postgres_server import PostgresServer
    from llmcore_testing.simulator import Simulator

__all__ = [
    "llmcore_cassette",
    "llmcore_postgres",
    "llmcore_simulator",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--llmcore-record`."""
    parser.getgroup("llmcore").addoption(
        "--llmcore-record",
        action="store_true",
        help="call the real providers, and record their answers in the cassettes of the fixture llmcore_cassette",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that passes settings to the simulator of a test."""
    config.addinivalue_line(
        "markers",
        "llmcore_simulator(**settings): arguments of `llmcore_testing.Simulator` for the fixture llmcore_simulator.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """If several tests of the conformance kits fail for the same cause, show the traceback only in the first."""
    report = yield
    if report.failed:
        from llmcore_testing.repeated_failures import shorten_repeat

        shorten_repeat(item, report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the parts of the conformance kits that were skipped because an optional fixture is not defined."""
    from llmcore_testing.unchecked_parts import list_not_checked

    list_not_checked(terminalreporter)


@pytest.fixture(scope="session")
def llmcore_postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server for the session; skip the test if none is installed."""
    from llmcore_testing.postgres_server import PostgresServer, find_postgres

    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with PostgresServer.in_reachable_folder() as server:
        yield server


@pytest.fixture
def llmcore_simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Start a simulator for this test, and close it afterwards."""
    from llmcore_testing.simulator import Simulator

    marker = request.node.get_closest_marker("llmcore_simulator")
    with Simulator(**(marker.kwargs if marker else {})) as upstream:
        yield upstream


@pytest.fixture
def llmcore_cassette(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Return a function that makes a configuration with a cassette of this test.

    `llmcore_cassette("openai", model="gpt-4o-mini", api_key="env:OPENAI_API_KEY")` replays the file `cassettes/FILE/TEST.json`
    next to the test file. `pytest --llmcore-record` calls the provider and writes the file. Pass
    `kind="voice"` to record a voice.
    """
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    path = request.path.parent / "cassettes" / request.path.stem / f"{name}.json"
    mode = "record" if request.config.getoption("--llmcore-record") else "replay"
    if mode == "record":
        from llmcore_testing.cassette.tape import begin_recording

        begin_recording(path)

    def configure(
        provider: str, *, kind: str = "llm", model: str | None = None, **options: Any
    ) -> dict[str, Any]:
        cassette = {"provider": provider, "path": str(path), "mode": mode, "options": options}
        table = {"provider": "cassette", "cassette": cassette} | ({} if model is None else {"model": model})
        return {kind: table, "cache": {"provider": "memory"}}

    return configure
