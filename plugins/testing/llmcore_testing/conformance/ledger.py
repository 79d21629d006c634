"""`LedgerConformance`: the tests that every ledger must pass. The test class of a backend inherits from it."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only by tests
import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from llmcore.contracts import LedgerClaims
from llmcore.errors import LedgerUnavailable
from llmcore.support.completion import Interrupted
from llmcore.support.ledger_owners import make_owner
from llmcore.support.ledger_rows import LedgerRow, RowQuery
from llmcore.support.ledger_values import Limit, Outcome, Refusal, Reserved, Scope, Settlement
from llmcore_testing.conformance.ledger_calls import (
    ALL,
    NANO,
    TIMEOUT_S,
    await_method,
    limit,
    make_request,
    open_again,
)
from llmcore_testing.conformance.ledger_contents import LedgerContents
from llmcore_testing.conformance.ledger_reports import ReportTests
from llmcore_testing.conformance.ledger_runs import LedgerRunsTests
from llmcore_testing.conformance.optional_tests import for_ability, requires
from llmcore_testing.conformance.processes import run_in_two_processes
from llmcore_testing.conformance.races import needs_fork

__all__ = ["LedgerConformance"]

_DAY = Scope("day")


class LedgerConformance(LedgerContents, ReportTests, LedgerRunsTests):
    """Tests the contract `llmcore.contracts.ledger`. The ledger that `provider` returns must be empty.

    Override the fixture `opener` too. It returns a function that opens the same ledger again, as another process would.
    """

    def test_prepare_says_whether_there_are_budgets(self) -> None:
        assert self.do("prepare", TIMEOUT_S) is False
        self.reserve(make_request(5, limit(ALL, 10)))
        assert self.do("prepare", TIMEOUT_S) is True

    def test_a_reservation_opens_a_row_and_a_settlement_closes_it(self) -> None:
        request = make_request(70, limit(ALL, 100), user="ann", tags=("x", "y"))
        reserved = self.reserve(request)
        assert [(each.scope, each.spent, each.reserved) for each in reserved.counters] == [(ALL, 0, 70)]
        assert abs(reserved.at - time.time()) < 3600, "the time of a row must be in seconds since 1970"
        (row,) = self.rows()
        assert (row.state, row.reserved, row.user, row.tags) == ("open", 70, "ann", ("x", "y"))
        counters = self.settle(request, reserved, cost=30 * NANO, model="served", latency_s=0.25)
        assert [(each.spent, each.reserved) for each in counters] == [(30, 0)]
        (row,) = self.rows()
        assert (row.state, row.cost, row.served, row.latency_ms, row.owner) == (
            "done",
            30,
            "served",
            250.0,
            None,
        )
        assert self.read() == {ALL: (30, 0)}

    def test_a_limit_that_is_too_small_refuses_and_changes_nothing(self) -> None:
        first = make_request(60, limit(ALL, 100))
        self.reserve(first)
        refused = self.reserve(make_request(41, limit(_DAY, 10**9), limit(ALL, 100)))
        assert isinstance(refused, Refusal), "reserve must return a Refusal for 41 if only 40 are left"
        assert (refused.limit.scope, refused.maximum, refused.counter.reserved) == (ALL, 41, 60)
        assert len(self.rows()) == 1
        assert self.read()[ALL] == (0, 60)
        assert isinstance(self.reserve(make_request(40, limit(ALL, 100))), Reserved)

    def test_a_limit_that_only_warns_never_refuses(self) -> None:
        assert isinstance(self.reserve(make_request(60, limit(ALL, 50, refuses=False))), Reserved)
        assert self.read() == {ALL: (0, 60)}

    def test_a_repeated_reservation_finds_its_row(self) -> None:
        request = make_request(60, limit(ALL, 100))
        first, second = self.reserve(request), self.reserve(request)
        assert second.row == first.row
        assert len(self.rows()) == 1
        assert self.read() == {ALL: (0, 60)}

    def test_a_repeated_settlement_changes_nothing(self) -> None:
        request = make_request(60, limit(ALL, 100))
        reserved = self.reserve(request)
        self.settle(request, reserved, cost=20 * NANO)
        self.settle(request, reserved, cost=20 * NANO)
        self.settle(request, reserved, requested=False)
        assert self.read() == {ALL: (20, 0)}
        assert [row.cost for row in self.rows()] == [20]

    def test_a_settlement_that_is_repeated_in_the_same_call_counts_once(self) -> None:
        request = make_request(60, limit(ALL, 100))
        reserved = self.reserve(request)
        settlement = Settlement(request, reserved.row, reserved.at, Outcome(cost=20 * NANO))
        self.do("settle", [settlement, settlement], TIMEOUT_S)
        assert self.read() == {ALL: (20, 0)}

    def test_a_request_that_was_not_made_leaves_no_row(self) -> None:
        request = make_request(60, limit(ALL, 100))
        self.settle(request, self.reserve(request), requested=False)
        assert self.rows() == []
        assert self.read() == {ALL: (0, 0)}

    def test_a_failed_request_keeps_its_row_and_releases_its_reservation(self) -> None:
        request = make_request(60, limit(ALL, 100))
        self.settle(request, self.reserve(request), cost=0 * NANO, error="unavailable ServerUnavailable")
        assert [(row.state, row.error) for row in self.rows()] == [
            ("failed", "unavailable ServerUnavailable")
        ]
        assert self.read() == {ALL: (0, 0)}, "the reservation of a failed request must be released"

    def test_a_row_is_found_by_its_key(self) -> None:
        request = make_request(60, limit(ALL, 100))
        at = self.reserve(request).at
        self.settle(request, Reserved(None, at, ()), requested=False)
        assert self.rows() == []
        assert self.read() == {ALL: (0, 0)}

    def test_several_rows_are_settled_together(self) -> None:
        requests = [make_request(10, limit(ALL, 100)) for _ in range(3)]
        settlements = [
            Settlement(request, reserved.row, reserved.at, Outcome(cost=4 * NANO))
            for request in requests
            for reserved in [self.reserve(request)]
        ]
        counters = self.do("settle", settlements, TIMEOUT_S)
        assert [(each.spent, each.reserved) for each in counters] == [(12, 0)]

    @pytest.mark.parametrize(
        ("scope", "covered"),
        [
            (Scope("day"), 3), (Scope("month"), 3), (Scope("total", model="p:"), 2), (Scope("total", model="p:a"), 1),
            (Scope("total", tag="x"), 2), (Scope("total", user="ann"), 1), (Scope("day", "p:a", "x", "ann"), 1),
            (Scope("total", user="nobody-else"), 0),
        ],
        ids=lambda value: value.name if isinstance(value, Scope) else None,
    )  # fmt: skip
    def test_a_counter_counts_the_rows_that_it_covers(self, scope: Scope, covered: int) -> None:
        def ask(watch: Sequence[Limit] = ()) -> None:
            for provider, model, user, tags in (
                ("p", "a", "ann", ("x",)),
                ("p", "b", "bob", ("y",)),
                ("q", "a", None, ("x",)),
            ):
                request = make_request(7, *watch, provider=provider, model=model, user=user, tags=tags)
                self.settle(request, self.reserve(request), cost=5 * NANO)

        ask()
        everything = make_request(0, limit(scope, 10**9), provider="z", model="z", user="zed")
        self.settle(everything, self.reserve(everything), requested=False)
        extra = 0
        assert self.read(scope)[scope] == (5 * covered + extra, 0), (
            "a new counter must be the sum of its rows"
        )
        ask()
        assert self.read(scope)[scope] == (10 * covered, 0), (
            "settle must also update counters that the request does not watch"
        )

    def test_a_period_counts_only_its_own_rows(self) -> None:
        now = time.time()
        rows = [
            LedgerRow(at=now - days * 86400, state="done", kind="llm", provider="p", model="a", cost=cost)
            for days, cost in ((0, 1), (40, 2))
        ]
        self.do("record", "two periods", rows, [], TIMEOUT_S)
        scopes = [_DAY, Scope("month"), ALL]
        counters = self.do("read_budgets", scopes, now, TIMEOUT_S)
        assert {each.scope.per: each.spent for each in counters} == {"day": 1, "month": 1, "total": 3}

    def test_characters_are_counted_apart_from_money(self) -> None:
        scope = Scope("total", unit="characters")
        request = make_request(50, limit(scope, 100), limit(ALL, 100), characters=80)
        reserved = self.reserve(request)
        assert self.read() == {ALL: (0, 50), scope: (0, 80)}
        refused = self.reserve(make_request(1, limit(scope, 100), characters=21))
        assert isinstance(refused, Refusal)
        assert refused.maximum == 21
        self.settle(request, reserved, cost=40 * NANO, characters=80)
        assert self.read() == {ALL: (40, 0), scope: (80, 0)}

    def test_budgets_that_have_no_counter_are_read_from_the_rows_and_not_created(self) -> None:
        request = make_request(9)
        self.settle(request, self.reserve(request), cost=9 * NANO)
        assert self.read(_DAY) == {_DAY: (9, 0)}
        assert self.read() == {}

    def test_threads_never_exceed_a_limit(self) -> None:
        def ask(_: int) -> bool:
            request = make_request(10, limit(ALL, 100))
            answer = self._ledger.reserve(request, TIMEOUT_S)
            return isinstance(answer, Reserved)

        with ThreadPoolExecutor(8) as pool:
            granted = sum(pool.map(ask, range(24)))
        assert granted == 10
        assert self.read() == {ALL: (0, 100)}

    def test_tasks_never_exceed_a_limit(self) -> None:
        if self._variant == "sync":  # without async methods, there are no tasks to test
            return

        async def ask() -> bool:
            answer = await self._ledger.areserve(make_request(10, limit(ALL, 100)), TIMEOUT_S)
            return isinstance(answer, Reserved)

        async def ask_all() -> int:
            return sum(await asyncio.gather(*(ask() for _ in range(24))))

        assert self._runner.run(ask_all()) == 10
        assert self.read() == {ALL: (0, 100)}

    def test_a_cancelled_task_leaves_no_row_that_no_caller_knows(self) -> None:
        if self._variant == "sync":  # without async methods, there are no tasks to test
            return
        request = make_request(10, limit(ALL, 100))

        async def cancel() -> Any:
            task = asyncio.get_running_loop().create_task(
                await_method(self._ledger.areserve, request, TIMEOUT_S)
            )
            await asyncio.sleep(0)
            task.cancel()
            try:
                return await task
            except Interrupted as late:
                return late.value
            except asyncio.CancelledError:
                return None

        answer = self._runner.run(cancel())
        rows = len(self.rows())
        assert rows == (1 if isinstance(answer, Reserved) else 0), (
            "a cancelled areserve must not leave an open row that the caller did not get"
        )

    def test_an_alert_is_claimed_once(self) -> None:
        request = make_request(10, limit(ALL, 100))
        (counter,) = self.settle(request, self.reserve(request), cost=10 * NANO)
        claims = [self.do("claim_alert", counter, 10, TIMEOUT_S) for _ in range(2)]
        assert claims == [True, False]
        (counter,) = self.do("read_budgets", [], time.time(), TIMEOUT_S)
        assert counter.alerted == 10
        assert self.do("claim_alert", counter, 20, TIMEOUT_S) is True
        self._ledger.close()
        assert self.do("claim_alert", counter, 20, TIMEOUT_S) is False, "a restart must not repeat an alert"

    def test_a_name_is_claimed_once(self, opener: Callable[[], Any] | None) -> None:
        if not isinstance(self._ledger, LedgerClaims):
            return
        self.do("prepare", TIMEOUT_S)
        assert self._ledger.claim("alert", TIMEOUT_S) is True
        others = [self._ledger] if opener is None else [self._ledger, open_again(opener)]
        for ledger in others:
            assert ledger.claim("alert", TIMEOUT_S) is False
        assert self._ledger.claim("another", TIMEOUT_S) is True

    def test_the_ledger_works_after_it_was_closed(self) -> None:
        request = make_request(9, limit(ALL, 100))
        reserved = self.reserve(request)
        self._ledger.close()
        assert self.do("recover", TIMEOUT_S) == 0, "recover must not settle rows of a process that is alive"
        self.settle(request, reserved, cost=9 * NANO)
        assert self.read() == {ALL: (9, 0)}

    @requires("opener")
    def test_two_processes_share_budgets(self, opener: Callable[[], Any]) -> None:
        other = open_again(opener)
        try:
            self.reserve(make_request(60, limit(ALL, 100)))
            refused = self.reserve(make_request(60, limit(ALL, 100)), other)
            assert isinstance(refused, Refusal)
            assert other.recover(TIMEOUT_S) == 0, "recover must not settle rows of a process that is alive"
        finally:
            other.close()

    @requires("opener")
    def test_two_instances_that_reserve_at_once_never_exceed_a_limit(self, opener: Callable[[], Any]) -> None:
        other = open_again(opener)

        def ask(number: int) -> bool:
            ledger = other if number % 2 else self._ledger
            return isinstance(ledger.reserve(make_request(10, limit(ALL, 100)), TIMEOUT_S), Reserved)

        with closing(other), ThreadPoolExecutor(8) as pool:
            granted = sum(pool.map(ask, range(24)))
            assert granted == 10, f"two instances granted {granted} reservations of 10 of a limit of 100"
            assert self.read() == {ALL: (0, 100)}

    @for_ability("fork")
    @needs_fork
    @requires("opener")
    def test_two_processes_that_reserve_at_once_never_exceed_a_limit(self, opener: Callable[[], Any]) -> None:
        other = open_again(opener)

        def ask(ledger: Any) -> int:
            requests = [make_request(10, limit(ALL, 100)) for _ in range(12)]
            return sum(isinstance(ledger.reserve(each, TIMEOUT_S), Reserved) for each in requests)

        def read_first() -> str:
            try:
                other.read_budgets([], time.time(), TIMEOUT_S)
            except LedgerUnavailable as error:
                return error.message
            return ""

        with closing(other):
            told, mine = run_in_two_processes(
                read_first, lambda: str(ask(other)), lambda: ask(self._ledger), self.deadline_s
            )
            granted = int(told) + mine
            assert granted == 10, f"two processes granted {granted} reservations of 10 of a limit of 100"

    @requires("opener")
    def test_rows_of_a_run_that_outlives_its_process_are_settled_by_a_later_one(
        self, opener: Callable[[], Any]
    ) -> None:
        later = open_again(opener)
        requests = []
        for until in (3600.0, -3600.0):
            owner = make_owner("run", time.time() + until)
            requests.append(make_request(60, limit(ALL, 1000), owner=owner))
            self.reserve(requests[-1])
        self._ledger.close()
        later.recover(TIMEOUT_S)  # returns 0 if the ledger has settled the row without being asked
        lost = [row.call for row in later.iterate_rows(RowQuery(states=("lost",)), TIMEOUT_S)]
        assert lost == [requests[1].charge.call], (
            "recover must settle the row of the run whose time has passed"
        )
        (row,) = later.iterate_rows(RowQuery(states=("open",)), TIMEOUT_S)
        assert (row.call, row.owner) == (requests[0].charge.call, requests[0].charge.owner)
        self.settle(requests[0], Reserved(row.id, row.at, ()), later, cost=20 * NANO)
        assert [row.state for row in self.rows()] == ["done", "lost"]
        assert self.read() == {ALL: (80, 0)}
        later.close()

    @for_ability("fork")
    @needs_fork
    @requires("opener")
    def test_the_rows_of_a_process_that_died_are_settled_at_their_maximum(
        self, opener: Callable[[], Any]
    ) -> None:
        other = open_again(opener)
        request = make_request(60, limit(ALL, 100))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about a fork with threads
            pid = os.fork()
        if not pid:
            try:
                other.reserve(request, TIMEOUT_S)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        ends = time.monotonic() + self.recovery_s
        while self.rows(states=("open",)) and time.monotonic() < ends:
            self.do("recover", TIMEOUT_S)
            time.sleep(0.05)
        assert [(row.state, row.cost, row.uncertain) for row in self.rows()] == [("lost", 60, True)]
        assert self.read() == {ALL: (60, 0)}
        other.close()
