"""Leases against a model: random reservations, settlements, lost statements, and owners that die or seem dead, on a real server."""

from __future__ import annotations

import itertools
import os
import time
from decimal import Decimal
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from llmcore.errors import LedgerUnavailable
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
from llmcore_ledger_postgres import lease, leases
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.postgres_server import PostgresServer

T = 60.0
NANO = Decimal(10) ** -9
SCOPES = (Scope("total"), Scope("day", user="ann"))
PROCESSES = st.integers(0, 2)
EXAMPLES = int(os.environ.get("LLMCORE_LEASE_ROUNDS", "1")) * 8


class Process:
    """A ledger with a model of what its process has in flight."""

    def __init__(self, url: str) -> None:
        options = PostgresOptions(url=Secret(url), lease=Duration(600.0), silence=Duration(2400.0))
        self.ledger = PostgresLedger(options)
        self.ledger.prepare(T)
        assert self.ledger._leases is not None
        self.leases = self.ledger._leases
        self.in_flight: list[tuple[ReserveRequest, Reserved]] = []
        self.is_alive = True

    def report(self, fault: str) -> None:
        """Report, with a fault of the network."""
        sync = self.leases._sync

        def fail(number: int, items: Any, timeout_s: float) -> Any:
            if fault != "before":
                answer = sync(number, items, timeout_s)
            if fault == "twice":  # the connection broke before the answer, and the statement was repeated
                again = sync(number, items, timeout_s)
                assert [each["block"] for each in again["items"]] == [
                    each["block"] for each in answer["items"]
                ]
                return again
            raise LedgerUnavailable("the connection was cut", busy=True, unknown=True)

        if fault:
            self.leases._sync = fail
        try:
            self.leases.report(T)
        except LedgerUnavailable:
            assert fault in {"before", "after"}
        finally:
            self.leases._sync = sync


class LeaseMachine(RuleBasedStateMachine):
    url: ClassVar[str]
    connection: ClassVar[psycopg.Connection[Any]]

    @initialize(limit=st.integers(1_000, 30_000))
    def begin(self, limit: int) -> None:
        self.connection.execute("TRUNCATE llmcore.calls, llmcore.budgets, llmcore.owners, llmcore.voided")
        self.limit, self.spent, self.lost = limit, 0, 0
        self.processes = [Process(self.url) for _ in range(3)]
        self.numbers = itertools.count()

    def make_request(self, maximum: int) -> ReserveRequest:
        charge = Charge(kind="llm", provider="p", model="a", call="c", user="ann")
        limits = [Limit(scope, self.limit, True) for scope in SCOPES]  # noqa: FBT003 - they refuse
        return ReserveRequest(
            key=f"key {next(self.numbers)}", charge=charge, at=time.time(), maximum=maximum, limits=limits
        )

    @rule(number=PROCESSES, maximum=st.integers(1, 10), count=st.integers(1, 30))
    def reserve(self, number: int, maximum: int, count: int) -> None:
        process = self.processes[number]
        if process.is_alive and not process.leases._leases:
            process.ledger.reserve(first := self.make_request(1), T)
            process.ledger.settle([Settlement(first, None, 0.0, Outcome(requested=False))], T)
            process.report("")  # it asks for a lease
        for _ in range(count if process.is_alive else 0):
            request = self.make_request(maximum)
            answer = process.ledger.reserve(request, T)
            if isinstance(answer, Reserved):
                process.in_flight.append((request, answer))
                again = process.ledger.reserve(request, T)
                assert isinstance(again, Reserved)
                assert again.row == answer.row, "a repetition finds the row"

    @rule(
        number=PROCESSES,
        cost=st.none() | st.integers(0, 10),
        count=st.integers(1, 30),
        is_repeated=st.booleans(),
    )
    def settle(self, number: int, cost: int | None, count: int, *, is_repeated: bool) -> None:
        process = self.processes[number]
        for _ in range(min(count, len(process.in_flight)) if process.is_alive else 0):
            request, reserved = process.in_flight.pop(0)
            if cost is not None:
                cost = min(cost, request.maximum)
                self.spent += cost
            outcome = Outcome(requested=False) if cost is None else Outcome(cost=cost * NANO)
            settlement = Settlement(request, reserved.row, reserved.at, outcome)
            process.ledger.settle([settlement], T)
            if (
                is_repeated
            ):  # the repetition goes to the server, and would hide a settlement that is lost here
                process.ledger.settle([settlement], T)

    @rule(number=PROCESSES, fault=st.sampled_from(["", "before", "after", "twice"]))
    def report(self, number: int, fault: str) -> None:
        if self.processes[number].is_alive:
            self.processes[number].report(fault)

    @rule(number=PROCESSES)
    def read(self, number: int) -> None:
        if self.processes[number].is_alive:
            self.processes[number].ledger.read_budgets(SCOPES, time.time(), T)

    @rule(number=PROCESSES, is_dead=st.integers(0, 3).map(lambda each: each == 0), notices=st.booleans())
    def seem_dead(self, number: int, is_dead: bool, notices: bool) -> None:  # noqa: FBT001 - drawn
        process = self.processes[number]
        if not process.is_alive:
            return
        name = process.ledger.owner.name
        self.connection.execute("UPDATE llmcore.owners SET seen = '-infinity' WHERE name = %s", (name,))
        self.processes[number - 1].ledger.recover(T)
        if is_dead:
            process.is_alive = False
            self.lost += sum(request.maximum for request, _ in process.in_flight)
        elif notices:  # it was stopped, and its clock went on
            for each in process.leases._leases:
                each.valid_until = min(each.valid_until, 1e-9)

    @invariant()
    def every_counter_is_the_sum_of_the_rows(self) -> None:
        if not hasattr(self, "limit"):
            return
        (spent, reserved), *_ = self.connection.execute(
            "SELECT coalesce(sum(cost) FILTER (WHERE state <> 'open'), 0)::bigint,"
            " coalesce(sum(reserved) FILTER (WHERE state = 'open'), 0)::bigint FROM llmcore.calls"
        ).fetchall()
        counters = self.connection.execute("SELECT spent, reserved FROM llmcore.budgets").fetchall()
        assert set(counters) <= {(spent, reserved)}
        assert spent + reserved <= self.limit, "reserved more than the limit"
        in_flight = sum(r.maximum for p in self.processes if p.is_alive for r, _ in p.in_flight)
        assert self.spent + self.lost + in_flight <= spent + reserved, "spent what is not reserved"

    def teardown(self) -> None:
        if not hasattr(self, "limit"):
            return
        living = [process for process in self.processes if process.is_alive]
        for number, process in enumerate(self.processes):
            if process.is_alive:
                self.settle(number, 1, 10_000, is_repeated=False)
                process.ledger.flush(T)
                assert not process.leases._leases
                assert not process.leases._rows
        (spent, reserved), *_ = self.connection.execute(
            "SELECT coalesce(sum(cost), 0)::bigint, coalesce(sum(reserved) FILTER (WHERE state = 'open'), 0)::bigint"
            " FROM llmcore.calls"
        ).fetchall()
        assert reserved == 0, "a block is stranded"
        if len(living) == len(self.processes):
            assert spent == self.spent, "a request is lost, or counted twice"
        assert self.spent + self.lost <= spent <= self.limit
        if living and spent < self.limit:
            assert isinstance(living[0].ledger.reserve(self.make_request(self.limit - spent), T), Reserved), (
                "money is stranded"
            )
        for process in self.processes:
            process.ledger.owner.stop()
            process.ledger.connections.close()


@pytest.mark.slow
def test_random_processes_neither_overspend_nor_strand_money(
    llmcore_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "HOT", 1)
    monkeypatch.setattr(leases, "start_thread", lambda _: True)  # reports come when the machine draws them
    LeaseMachine.url = llmcore_postgres.create_database()
    PostgresLedger(PostgresOptions(url=Secret(LeaseMachine.url))).prepare(T)
    with psycopg.connect(LeaseMachine.url, autocommit=True) as LeaseMachine.connection:
        run_state_machine_as_test(
            LeaseMachine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
