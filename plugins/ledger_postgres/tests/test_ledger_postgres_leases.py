"""Budget leases: no overspending and no stranded money, whatever happens to the processes that hold blocks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.errors import ConfigError, LedgerUnavailable
from llmcore.support.ledger_rows import ReportQuery, RowQuery
from llmcore.support.ledger_values import (
    Charge,
    Limit,
    Outcome,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore.types import Duration, Secret, Usage
from llmcore_ledger_postgres.leases import Leases
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.owner import Owner
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import ALL, NANO, Opener, T, settle

ROUNDS = int(os.environ.get("LLMCORE_LEASE_ROUNDS", "1"))
"""Rounds of processes that are killed and stopped."""
server, url, opener = ledgers.server, ledgers.url, ledgers.opener
OPTIONS = {"lease": Duration(600.0), "silence": Duration(2400.0)}
"""Reports come when a block is low, and when the test asks."""
MAXIMUM = 20
numbers = itertools.count()


def make_request(limit: int, maximum: int = MAXIMUM, user: str | None = None) -> ReserveRequest:
    """Return a request of *user* that the budget of all requests refuses above *limit* nano-dollars."""
    request = ledgers.make_request(f"{os.getpid()}-{next(numbers)}", maximum, limit)
    charge = msgspec.structs.replace(request.charge, user=user)
    return msgspec.structs.replace(request, charge=charge)


def read(server: PostgresServer, url: str) -> dict[str, tuple[int, int]]:
    """Return what each counter says, after comparing it with the sum of the rows."""
    rows = server.execute(
        "SELECT scope, spent, reserved,"
        " (SELECT coalesce(sum(cost) FILTER (WHERE state <> 'open'), 0) FROM llmcore.calls),"
        " (SELECT coalesce(sum(reserved) FILTER (WHERE state = 'open'), 0) FROM llmcore.calls) FROM llmcore.budgets",
        url=url,
    )
    for _, spent, reserved, spent_rows, reserved_rows in rows:
        assert (spent, reserved) == (spent_rows, reserved_rows), "a counter is the sum of its rows"
    return {scope: (int(spent), int(reserved)) for scope, spent, reserved, *_ in rows}


def warm(ledger: PostgresLedger, limit: int, user: str | None = None) -> int:
    return ledgers.warm(ledger, lambda: make_request(limit, user=user))


def test_a_hot_budget_takes_few_statements_and_is_used_up_exactly(
    server: PostgresServer, url: str, opener: Opener
) -> None:
    ledger, limit, spent, count = opener(), 100_000, 0, 0
    before = server.read_log().count("LOG:  execute")
    ends = time.monotonic() + T
    while True:
        request = make_request(limit)
        answer = ledger.reserve(request, T)
        if isinstance(answer, Refusal):
            if answer.is_permanent:
                break
            assert time.monotonic() < ends, "money is stranded in a block"
            continue
        cost = 5 + count % 16
        settle(ledger, request, answer, cost)
        spent, count = spent + cost, count + 1
    statements = server.read_log().count("LOG:  execute") - before
    assert limit - MAXIMUM < spent <= limit
    assert statements < count, "two for each without leases"
    ledger.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent, 0)}
    assert sum(row.cost or 0 for row in ledger.iterate_rows(RowQuery(), T)) == spent
    (total,) = ledger.aggregate(ReportQuery(dimensions=("total",)), T)
    assert (total.requests, total.unsettled, total.cost) == (count, 0, spent)


def test_a_block_is_not_a_request_and_is_returned_when_budgets_are_read(
    opener: Opener,
) -> None:
    ledger, other = opener(), opener()
    count = warm(ledger, 10**9)
    (counter,) = other.read_budgets([ALL], time.time(), T)
    assert counter.reserved >= 8 * MAXIMUM
    assert len(list(other.iterate_rows(RowQuery(), T))) <= count
    (lease,) = other.iterate_rows(RowQuery(states=("open",)), T)
    assert (lease.kind, lease.count) == ("lease", 0)
    (counter,) = ledger.read_budgets([ALL], time.time(), T)
    assert (counter.spent, counter.reserved) == (count, 0)


def test_a_request_in_flight_has_a_row_after_a_report_and_is_settled_later(
    server: PostgresServer, url: str, opener: Opener
) -> None:
    ledger = opener()
    spent = warm(ledger, 10**9)
    requests = [make_request(10**9) for _ in range(3)]
    reserved = [ledger.reserve(request, T) for request in requests]
    assert [ledger.reserve(request, T) for request in requests] == reserved, "a repetition reserves nothing"
    ledger.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent, 3 * MAXIMUM)}
    for request, answer, cost in zip(requests, reserved, (7, None, 3), strict=True):
        settle(ledger, request, answer, cost)
    server.stop()
    with pytest.raises(LedgerUnavailable):
        ledger.flush(0.1)
    server.start()
    ledger.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent + 10, 0)}
    for request, answer, cost in zip(requests, reserved, (7, None, 3), strict=True):
        settle(ledger, request, answer, cost)
    assert read(server, url) == {ALL.format_text(): (spent + 10, 0)}
    assert all(row.state == "done" for row in ledger.iterate_rows(RowQuery(), T))


def test_a_lease_counts_in_every_budget_that_covers_its_requests(
    server: PostgresServer, url: str, opener: Opener
) -> None:
    ledger, other = opener(), opener()
    count = warm(ledger, 10**9, user="ann")
    of_ann = Scope("total", user="ann")
    charge = Charge(kind="llm", provider="q", model="b", call="x", user="ann")
    limits = [Limit(of_ann, count + 60, True)]  # noqa: FBT003 - it refuses
    request = ReserveRequest(key="other", charge=charge, at=time.time(), maximum=61, limits=limits)
    refused = other.reserve(request, T)  # creates the counter from rows and leases
    assert isinstance(refused, Refusal)
    ledger.flush(T)
    assert isinstance(other.reserve(request, T), Refusal)
    counters = read(server, url)
    assert counters[of_ann.format_text()] == counters[ALL.format_text()] == (count, 0)


def test_a_smaller_limit_of_the_same_budget_does_not_use_the_block(
    opener: Opener,
) -> None:
    ledger = opener()
    count = warm(ledger, 10**9)
    assert isinstance(ledger.reserve(make_request(count + MAXIMUM - 1), T), Refusal)


def test_a_row_that_the_server_refuses_does_not_hold_up_the_others(
    server: PostgresServer, url: str, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = opener()
    spent = warm(ledger, 10**9)
    for tokens in (1, 2**63, 2):  # the second is too large for a bigint
        request = make_request(10**9)
        answer = ledger.reserve(request, T)
        assert isinstance(answer, Reserved)
        outcome = Outcome(cost=5 * NANO, usage=Usage(input_tokens=tokens))
        ledger.settle([Settlement(request, answer.row, answer.at, outcome)], T)
    with contextlib.suppress(LedgerUnavailable):
        ledger.flush(T)
    ledger.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent + 10, MAXIMUM)}, (
        "the refused row is open at its maximum"
    )
    assert "the server refuses the row of a request" in caplog.text


def test_a_settlement_that_the_server_refuses_does_not_hold_up_the_others(
    server: PostgresServer, url: str, opener: Opener
) -> None:
    ledger = opener()
    spent = warm(ledger, 10**9)
    requests = [make_request(10**9) for _ in range(3)]
    answers = [ledger.reserve(request, T) for request in requests]
    server.execute("ALTER TABLE llmcore.calls RENAME TO hidden", url=url)
    with contextlib.suppress(LedgerUnavailable):
        ledger.flush(T)  # sends the rows open, in vain
    server.execute("ALTER TABLE llmcore.hidden RENAME TO calls", url=url)
    for request, answer, tokens in zip(requests, answers, (1, 2**63, 2), strict=True):
        assert isinstance(answer, Reserved)
        outcome = Outcome(cost=5 * NANO, usage=Usage(input_tokens=tokens))
        ledger.settle([Settlement(request, answer.row, answer.at, outcome)], T)
    with contextlib.suppress(LedgerUnavailable):
        ledger.flush(T)
    ledger.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent + 10, MAXIMUM)}


def test_the_interval_must_be_short_next_to_the_silence(url: str) -> None:
    with pytest.raises(ConfigError, match="a quarter of `silence`"):
        PostgresLedger(PostgresOptions(url=Secret(url), lease=Duration(6.0)))


def test_a_replica_that_lost_writes_gets_leases_and_their_rows_back(
    server: PostgresServer, url: str, opener: Opener
) -> None:
    ours = opener(heartbeat=Duration(0.2))
    theirs = opener(heartbeat=Duration(0.2), lease=Duration(0.0))
    theirs.reserve(make_request(10**9), T)
    spent = warm(ours, 10**9)
    server.take_snapshot()
    spent += warm(ours, 10**9) + warm(ours, 10**9, user="ann")
    pending = [make_request(10**9, user=user) for user in (None, "ann")]
    reserved = [ours.reserve(request, T) for request in pending]
    assert ours._leases is not None
    ours._leases.report(T)
    spent += warm(ours, 10**9)
    server.replace_by_snapshot()
    theirs.reserve(make_request(10**9), 2 * T)  # waits until the counters are right
    assert read(server, url)[ALL.format_text()][0] >= spent - 1, "only the last request was not reported"
    ours.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent, 4 * MAXIMUM)}
    for request, answer in zip(pending, reserved, strict=True):
        settle(ours, request, answer, 5)
    ours.flush(T)
    assert read(server, url) == {ALL.format_text(): (spent + 10, 2 * MAXIMUM)}


@pytest.mark.parametrize(("before_midnight_s", "is_used"), [(3600.0, True), (0.05, False), (86400.0, True)])
def test_a_lease_is_not_used_after_midnight_of_the_server(
    server: PostgresServer,
    before_midnight_s: float,
    is_used: bool,  # noqa: FBT001 - a parameter
) -> None:
    at = (time.time() // 86400 + 30) * 86400 - before_midnight_s  # the clocks differ by a month

    def answer(_: int, items: list[dict[str, Any]], timeout_s: float) -> dict[str, Any]:
        del timeout_s
        granted = {"state": "open", "at": at, "block": [10**6, 0], "counters": []}
        return {"at": at, "items": [granted for _ in items], "timeline": None}

    leases = Leases(answer, Owner(server.stop, 5.0), 600.0, 2400.0)  # its heartbeat is not started
    for _ in range(4):
        assert leases.reserve(make_request(10**9)) is None
    leases.report(T)
    reserved = leases.reserve(make_request(10**9))
    assert (reserved is not None) == is_used
    assert reserved is None or at <= reserved.at < at + 3600


# -- processes


class Worker:
    """A process of `lease_worker.py`."""

    def __init__(
        self, url: str, limit: int, *, silence: float, latency: float = 0.0, threads: int = 2
    ) -> None:
        given = {"url": url, "limit": limit, "lease": silence / 8, "silence": silence, "latency": latency}
        path = Path(__file__).with_name("lease_worker.py")
        command = [sys.executable, str(path), json.dumps(given | {"threads": threads})]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self._pipe = self.process.stdout
        self.costs: list[int] = []

    def read(self, count: int) -> None:
        """Read the costs of *count* further requests, or all if there are fewer."""
        self.costs += [int(line) for line in itertools.islice(self._pipe, count)]

    def finish(self) -> int:
        """Read until the process ends; return what it has spent."""
        self.costs += [int(line) for line in self._pipe]
        self.process.wait()
        return sum(self.costs)


@contextmanager
def start_workers(count: int, *args: Any, **options: Any) -> Iterator[list[Worker]]:
    workers = [Worker(*args, **options) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.communicate()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_killed_processes_overspend_nothing_and_are_settled_at_their_maximum(
    server: PostgresServer, url: str, opener: Opener, round_number: int
) -> None:
    del round_number
    limit = 60_000
    ledger = opener(silence=Duration(4.0), lease=Duration(0.0))
    with start_workers(3, url, limit, silence=4.0) as workers:
        for worker in workers[:2]:
            worker.read(100)
            worker.process.kill()
        spent = sum(worker.finish() for worker in workers)
        assert workers[2].process.returncode == 0
    ends = time.monotonic() + T
    while (counters := read(server, url))[ALL.format_text()][1] and time.monotonic() < ends:
        ledger.recover(T)
    assert spent <= counters[ALL.format_text()][0] <= limit
    assert counters[ALL.format_text()][0] > limit - MAXIMUM
    assert {reserved for _, reserved in counters.values()} == {0}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_a_process_that_was_stopped_past_its_lease_does_not_spend_from_it(
    server: PostgresServer, url: str, opener: Opener, round_number: int
) -> None:
    del round_number
    limit = 30_000
    ledger = opener(silence=Duration(3.0), lease=Duration(0.0))
    with start_workers(2, url, limit, silence=3.0, latency=0.001) as workers:
        stopped = workers[0]
        stopped.read(200)
        stopped.process.send_signal(signal.SIGSTOP)
        lost = "SELECT count(*) FROM llmcore.calls WHERE state = 'lost'"
        ends = time.monotonic() + T
        while server.execute(lost, url=url) == [("0",)] and time.monotonic() < ends:
            ledger.recover(T)
            time.sleep(0.05)
        stopped.process.send_signal(signal.SIGCONT)
        spent = sum(worker.finish() for worker in workers)
        assert [worker.process.returncode for worker in workers] == [0, 0]
    assert limit - MAXIMUM < spent <= limit, "what was given back is used up"
    assert set(read(server, url).values()) == {(spent, 0)}
