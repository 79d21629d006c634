"""A failover to a replica that lost the last writes: budgets wait until the rows of all processes are back."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmcore.errors import LedgerUnavailable
from llmcore.support.ledger_rows import ReportQuery, RowQuery
from llmcore.support.ledger_values import (
    Outcome,
    Refusal,
    Reserved,
    Settlement,
)
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.encoding import Opened, encode
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing import TcpProxy
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import Opener, T, make_request, make_settlement, read, settle
from tests.kits.waiting import wait_until

server, url, opener = ledgers.server, ledgers.url, ledgers.opener
OPTIONS = {"heartbeat": Duration(600.0), "silence": Duration(60.0)}


def test_a_replica_that_lost_writes_gets_them_back_before_budgets_are_used(
    server: PostgresServer, opener: Opener
) -> None:
    ours, theirs = opener(heartbeat=Duration(0.2)), opener(heartbeat=Duration(0.2))
    early = make_request("early", 5)
    settle(ours, early, ours.reserve(early, T), 5)
    theirs.reserve(make_request("theirs", 10), T)
    server.take_snapshot()
    settled, pending = make_request("settled", 40), make_request("pending", 30)
    settle(ours, settled, ours.reserve(settled, T), 40)
    kept = ours.reserve(pending, T)
    assert read(ours) == (45, 40)
    server.replace_by_snapshot()
    refused = theirs.reserve(make_request("too much", 16), 2 * T)
    assert isinstance(refused, Refusal), "the server forgot what was spent"
    assert read(theirs) == (45, 40)
    settle(ours, pending, kept, 20)
    assert read(ours) == (65, 10)
    states = {row.cost: row.state for row in ours.iterate_rows(RowQuery(), T)}
    assert states == {5: "done", 40: "done", 20: "done", None: "open"}


def test_rows_of_a_process_that_was_silent_during_a_failover_are_booked_when_it_returns(
    server: PostgresServer, opener: Opener
) -> None:
    ours = opener()
    theirs = opener(silence=Duration(0.05))
    theirs.reserve(make_request("theirs", 10), T)
    ours.reserve(make_request("early", 5), T)
    server.take_snapshot()
    settled, pending = make_request("settled", 40), make_request("pending", 30)
    settle(ours, settled, ours.reserve(settled, T), 40)
    kept = ours.reserve(pending, T)
    server.replace_by_snapshot()
    while not theirs.restate(T):
        time.sleep(0.01)
    assert read(theirs) == (0, 15), "the counters are rebuilt without the silent process"
    ours.beat()
    ours.beat()
    assert read(theirs) == (40, 45)
    settle(ours, pending, kept, 20)
    assert read(ours) == (60, 15)
    assert {row.cost for row in ours.iterate_rows(RowQuery(), T)} == {None, 40, 20}


def test_a_settlement_after_the_counters_were_rebuilt_is_booked_at_once(
    server: PostgresServer, opener: Opener
) -> None:
    ours, theirs = opener(), opener(silence=Duration(0.05))
    theirs.reserve(make_request("theirs", 10), T)
    server.take_snapshot()
    pending = make_request("pending", 30)
    kept = ours.reserve(pending, T)
    recalled_early = encode(ours.owner.recall())
    server.replace_by_snapshot()
    while not theirs.restate(T):
        time.sleep(0.01)
    settle(ours, pending, kept, 20)
    assert read(theirs) == (20, 10)
    statement = b"SELECT llmcore.restate(%s, %s, '1 min')"
    ours.connections.run(lambda session: session.execute(statement, (ours.owner.name, recalled_early)), T)
    assert read(theirs) == (20, 10), "a message that was late has opened the row again"


def test_a_settlement_that_the_old_server_confirmed_during_the_failover_is_booked(
    server: PostgresServer, url: str, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    direct = f"127.0.0.1:{server.port}"
    with TcpProxy(direct) as first, TcpProxy(direct) as second, ThreadPoolExecutor() as threads:
        ours = opener(url=Secret(url.replace(direct, f"{first.address},{second.address}")))
        request, abandoned = make_request("one", 40), make_request("two", 30)
        kept = ours.reserve(request, T)
        ours.reserve(abandoned, T)
        server.take_snapshot()
        first.refuse()
        assert read(ours) == (0, 70)  # through the second proxy, as the settlement
        first.heal()
        second.hold()
        settling = threads.submit(ours.settle, [make_settlement(request, kept, 20)], 100 * T)
        wait_until(lambda: server.execute("SELECT spent FROM llmcore.budgets", url=url) == [("20",)])
        server.stop()  # after it has sent the answer, which the proxy holds
        server.replace_by_snapshot()
        wait_until(lambda: try_to_beat(ours))  # sends the row as open
        assert read(ours) == (0, 70)
        second.heal()
        settling.result()
        assert read(ours) == (0, 70), "the answer came from the old server"
        now[0] += 16
        wait_until(lambda: try_to_beat(ours))
        assert read(ours) == (20, 30)


def try_to_beat(ledger: PostgresLedger) -> bool:
    """Return whether the server has answered a heartbeat in time."""
    try:
        ledger.beat()
    except LedgerUnavailable:
        return False
    return True


def test_a_settlement_finds_the_row_that_a_failover_lost(server: PostgresServer, opener: Opener) -> None:
    ours = opener()
    ours.reserve(make_request("early", 5), T)
    server.take_snapshot()
    pending, unsent = make_request("pending", 30), make_request("unsent", 10)
    kept = ours.reserve(pending, T)
    dropped = ours.reserve(unsent, T)
    assert isinstance(dropped, Reserved)
    server.replace_by_snapshot()
    settle(ours, pending, kept, 20)
    ours.settle([Settlement(unsent, dropped.row, dropped.at, Outcome(requested=False))], T)
    assert {row.cost for row in ours.iterate_rows(RowQuery(), T)} == {None, 20}
    assert read(ours) == (20, 5)


def test_rows_that_were_pruned_before_a_failover_are_not_counted_again(
    server: PostgresServer, opener: Opener
) -> None:
    ours = opener()
    request = make_request("one", 40)
    settle(ours, request, ours.reserve(request, T), 40)
    assert ours.prune(time.time() + 60, T) == 1
    server.take_snapshot()
    server.replace_by_snapshot()
    ours.beat()
    assert read(ours) == (40, 0)
    (total,) = ours.aggregate(ReportQuery(dimensions=("total",)), T)
    assert (total.requests, total.cost) == (1, 40)


def test_a_process_that_has_closed_its_ledger_is_not_waited_for(
    server: PostgresServer, opener: Opener
) -> None:
    ours, theirs = opener(), opener()
    request = make_request("one", 5)
    settle(ours, request, ours.reserve(request, T), 5)
    theirs.reserve(make_request("two", 10), T)
    ours.close()
    server.take_snapshot()
    server.replace_by_snapshot()
    assert theirs.restate(T)


def test_a_stale_server_does_not_cancel_the_second_sending_of_rows(opener: Opener) -> None:
    owner = opener().owner
    owner.timeline = "1"
    assert owner.is_behind("2")
    owner.follow("2")
    owner.follow("2")  # the next beat finds that other processes have not sent their rows
    assert not owner.is_behind("2")
    assert owner._again_at is not None


def test_requests_wait_for_the_promotion_of_a_standby(server: PostgresServer, opener: Opener) -> None:
    ours = opener()
    first, second = make_request("first", 30), make_request("second", 10)
    kept = ours.reserve(first, T)
    server.stop()
    server.start_as_standby()
    with ThreadPoolExecutor() as threads:
        settled = threads.submit(settle, ours, first, kept, 20)
        reserved = threads.submit(ours.reserve, second, T)
        log = ""
        while "recovery is in progress" not in log or "in a read-only transaction" not in log:
            assert not settled.done(), settled.result()
            assert not reserved.done(), reserved.result()
            time.sleep(0.01)
            log = server.read_log()
        server.promote()
        settled.result()
        assert isinstance(reserved.result(), Reserved)
    assert read(ours) == (20, 10)


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Let threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("busy_threads")
@pytest.mark.parametrize("_repetition", range(8))
def test_each_row_is_recalled_while_another_thread_closes_rows(opener: Opener, _repetition: int) -> None:
    owner = opener().owner
    requests = [make_request(f"{number}", 1) for number in range(200)]
    for request in requests:
        owner.add(Opened(request, "2026-11-30", 0.0))

    def close_rows() -> None:
        for request in requests:
            owner.close(Settlement(request, "2026-11-30", 0.0, Outcome()))

    with ThreadPoolExecutor() as threads:
        closing = threads.submit(close_rows)
        while not closing.done():
            assert len({row["key"] for row in owner.recall()}) == len(requests)
    assert len(owner.recall()) == len(requests)


def test_a_heartbeat_without_a_thread_is_begun_by_the_next_request(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = opener()

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert isinstance(ours.reserve(make_request("one", 5), T), Reserved)
        assert not ours.is_owner
    assert isinstance(ours.reserve(make_request("two", 5), T), Reserved)
    assert ours.is_owner
