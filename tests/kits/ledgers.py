"""Ledgers on PostgreSQL: fixtures and functions for the tests of `llmcore-ledger-postgres`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from llmcore.support.ledger_values import (
    Charge,
    Limit,
    Outcome,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.postgres_server import PostgresServer

T = 60.0
ALL = Scope("total")
NANO = Decimal(10) ** -9
Opener = Callable[..., PostgresLedger]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Start a server for the tests of a module that stop or replace it, or read its log, which has all statements."""
    with PostgresServer.in_reachable_folder(log_statement="all") as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.create_database()


@pytest.fixture
def shared_url(llmcore_postgres: PostgresServer) -> str:
    """Create a database of the server of all modules, for tests that let the server run."""
    return llmcore_postgres.create_database()


@pytest.fixture
def opener(url: str, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Return a function that opens and prepares ledgers. Its arguments are options, which override OPTIONS of the module."""
    opened: list[PostgresLedger] = []
    common: dict[str, Any] = {"url": Secret(url), "connect_timeout": Duration(60.0)}
    common |= getattr(request.module, "OPTIONS", {})

    def open_ledger(**options: Any) -> PostgresLedger:
        ledger = PostgresLedger(PostgresOptions(**common | options))
        opened.append(ledger)
        ledger.prepare(T)
        return ledger

    yield open_ledger
    for ledger in opened:
        ledger.close()


def make_request(
    key: str, maximum: int, limit: int = 100, *, scope: Scope = ALL, tags: tuple[str, ...] = ()
) -> ReserveRequest:
    """Return a request of the user of *scope* that *scope* refuses above *limit* nano-dollars."""
    charge = Charge(kind="llm", provider="p", model="a", call="c", user=scope.user, tags=tags)
    limits = [Limit(scope, limit, True)]  # noqa: FBT003 - it refuses
    return ReserveRequest(key=key, charge=charge, at=time.time(), maximum=maximum, limits=limits)


def make_settlement(request: ReserveRequest, reserved: object, cost: int | None) -> Settlement:
    """Return the settlement at *cost* nano-dollars; None means that the request was not sent."""
    assert isinstance(reserved, Reserved)
    outcome = Outcome(requested=False) if cost is None else Outcome(cost=cost * NANO)
    return Settlement(request, reserved.row, reserved.at, outcome)


def settle(ledger: PostgresLedger, request: ReserveRequest, reserved: object, cost: int | None) -> None:
    ledger.settle([make_settlement(request, reserved, cost)], T)


def read(ledger: PostgresLedger, scope: Scope = ALL) -> tuple[int, int]:
    """Return what is spent and reserved in *scope*, in nano-dollars."""
    (counter,) = [each for each in ledger.read_budgets([scope], time.time(), T) if each.scope == scope]
    return counter.spent, counter.reserved


def warm(ledger: PostgresLedger, make: Callable[[], ReserveRequest]) -> int:
    """Settle requests at a nano-dollar until one is reserved from a lease. Return their number."""
    assert ledger._leases is not None
    ends = time.monotonic() + T
    count = 0
    while time.monotonic() < ends:
        request = make()
        reserved = ledger.reserve(request, T)
        is_local = request.key in ledger._leases._rows
        settle(ledger, request, reserved, 1)
        count += 1
        if is_local:
            return count
    raise AssertionError("no lease was granted")
