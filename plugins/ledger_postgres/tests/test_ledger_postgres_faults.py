"""The ledger `postgres` when the server restarts, hangs, or is replaced by a replica that lost writes; and its rights."""

from __future__ import annotations

import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import psycopg
import pytest

from llmcore.errors import LedgerUnavailable
from llmcore.support.ledger_rows import LedgerRow, ReportQuery, RowQuery
from llmcore.support.ledger_values import (
    Outcome,
    Reserved,
    Settlement,
)
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.connections import Session
from llmcore_ledger_postgres.encoding import encode, encode_request
from llmcore_ledger_postgres.statements import Reserve
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import ALL, NANO, Opener, T, make_request, read, settle

server, url, opener = ledgers.server, ledgers.url, ledgers.opener
OPTIONS = {"heartbeat": Duration(0.2), "silence": Duration(3.0)}


def test_a_restarted_server_is_found_again(server: PostgresServer, opener: Opener) -> None:
    ledger = opener()
    request = make_request("one", 60)
    reserved = ledger.reserve(request, T)
    server.stop()
    server.start()
    settle(ledger, request, reserved, 30)
    assert read(ledger) == (30, 0)


def test_two_statements_for_a_call_and_no_state_of_a_session(server: PostgresServer, opener: Opener) -> None:
    ledger = opener(heartbeat=Duration(600.0))
    settle(ledger, first := make_request("first", 1), ledger.reserve(first, T), 1)
    before = server.read_log().count("LOG:  execute")
    settle(ledger, second := make_request("second", 1), ledger.reserve(second, T), 1)
    assert server.read_log().count("LOG:  execute") == before + 2
    prepared, locks = ledger._read(
        "SELECT (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
        (),
        T,
    )[0]
    assert (prepared, locks) == (0, 0)


def test_a_server_that_hangs_does_not_hold_a_call_longer_than_its_timeout(
    server: PostgresServer, opener: Opener
) -> None:
    ledger = opener(heartbeat=Duration(600.0))
    ledger.reserve(make_request("first", 1), T)
    server.pause()
    try:
        with pytest.raises(LedgerUnavailable) as caught:
            ledger.reserve(make_request("second", 1), 0.2)
    finally:
        server.resume()
    assert (caught.value.busy, caught.value.unknown) == (True, True)
    request = make_request("second", 1)
    ledger.settle([Settlement(request, None, 0.0, Outcome(requested=False))], T)
    with pytest.raises(LedgerUnavailable, match="abandoned"):  # it can never be opened later
        ledger.reserve(request, T)
    assert read(ledger) == (0, 1)


@pytest.mark.parametrize("together", ["task", "thread"])
def test_a_call_does_not_wait_for_the_statement_of_calls_with_more_time(
    server: PostgresServer, opener: Opener, together: str
) -> None:
    ledger = opener(heartbeat=Duration(600.0))
    ledger.reserve(make_request("first", 1), T)

    async def reserve(key: str, timeout_s: float) -> object:
        if together == "task":
            return await ledger.areserve(make_request(key, 1), timeout_s)
        return await asyncio.to_thread(ledger.reserve, make_request(key, 1), timeout_s)

    async def reserve_all() -> list[object]:
        server.pause()
        try:
            patient = [asyncio.create_task(reserve(f"patient {n}", 4 * T)) for n in range(4)]
            hasty = [asyncio.create_task(reserve(f"hasty {n}", 0.2)) for n in range(4)]
            _, pending = await asyncio.wait(hasty, timeout=2 * T)
            assert not pending
            assert not any(task.done() for task in patient)
        finally:
            server.resume()
        answers = await asyncio.gather(*hasty, return_exceptions=True)
        assert all(isinstance(each, LedgerUnavailable) and each.busy for each in answers)
        return await asyncio.gather(*patient)

    assert all(isinstance(each, Reserved) for each in asyncio.run(reserve_all()))


def test_threads_that_reserve_at_once_all_get_an_answer(opener: Opener) -> None:
    ledger = opener(max_connections=2)
    with ThreadPoolExecutor(16) as pool:
        requests = [make_request(f"{number}", 1, limit=1000) for number in range(400)]
        answers = list(pool.map(lambda request: ledger.reserve(request, 4 * T), requests))
    assert all(isinstance(each, Reserved) for each in answers)
    assert read(ledger) == (0, 400)


def test_a_claim_whose_answer_was_lost_belongs_to_the_caller(server: PostgresServer, opener: Opener) -> None:
    ledger, other = opener(heartbeat=Duration(600.0)), opener(heartbeat=Duration(600.0))
    ledger.reserve(make_request("first", 1), T)
    (counter,) = ledger.read_budgets([ALL], time.time(), T)
    server.pause()
    try:
        with pytest.raises(LedgerUnavailable):
            ledger.claim_alert(counter, 50, 0.2)
    finally:
        server.resume()
    assert ledger.claim_alert(counter, 50, T)
    assert not other.claim_alert(counter, 50, T)
    assert not ledger.claim_alert(counter, 50, T), "each call is another caller"
    assert (ledger.claim("day", T), other.claim("day", T), ledger.claim("day", T)) == (True, False, False)


def test_an_attempt_that_may_have_been_executed_is_not_forgotten_when_a_later_one_meets_a_lock(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    statements = iter([b"SELECT pg_terminate_backend(pg_backend_pid())"])

    def work(session: Session) -> None:
        try:
            session.execute(next(statements, b"DO $$ BEGIN RAISE lock_not_available; END $$"))
        except psycopg.errors.LockNotAvailable:
            now[0] += T  # no time is left for another attempt
            raise

    with pytest.raises(LedgerUnavailable, match="a lock is held") as caught:
        opener(heartbeat=Duration(600.0)).connections.run(work, T)
    assert (caught.value.busy, caught.value.unknown) == (True, True)


def test_an_open_row_is_not_forgotten_when_its_batch_fails(url: str, opener: Opener) -> None:
    ledger = opener()
    free = msgspec.structs.replace(make_request("free", 1), limits=[])
    ledger.settle([Settlement(free, None, 0.0, Outcome(requested=False))], T)
    opened = msgspec.structs.replace(free, key="opened")
    with psycopg.connect(url) as other:
        other.execute(
            "SELECT pg_advisory_xact_lock_shared(hashtext('llmcore.counters'))"
        )  # no counter can be created
        with pytest.raises(LedgerUnavailable) as caught:
            Reserve(ledger).execute([opened, make_request("limited", 1)], 2.0)
    assert [row.state for row in ledger.iterate_rows(RowQuery(), T)] == ["open"]
    assert (caught.value.busy, caught.value.unknown) == (True, True)


def test_a_reservation_finds_the_row_of_a_copy_that_is_committed_meanwhile(url: str, opener: Opener) -> None:
    ledger = opener()
    ledger.beat()  # creates the partition
    request = msgspec.structs.replace(make_request("same", 1), limits=[])
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT llmcore.reserve('other', %s, '30s')", (encode([encode_request(request)]),))
        answer = pool.submit(ledger.reserve, request, T)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        ends = time.monotonic() + T
        while not other.execute(waiting).fetchone() and time.monotonic() < ends:
            time.sleep(0.01)
        other.commit()
        assert isinstance(answer.result(), Reserved)
    assert len(list(ledger.iterate_rows(RowQuery(), T))) == 1


def test_an_abandoned_request_has_no_row_although_its_reservation_was_under_way(
    url: str, opener: Opener
) -> None:
    ledger = opener(heartbeat=Duration(600.0))
    settle(ledger, first := make_request("first", 1), ledger.reserve(first, T), 1)
    request = make_request("slow", 7)
    abandoned = Settlement(request, None, 0.0, Outcome(requested=False))
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT llmcore.reserve('other', %s, '30s')", (encode([encode_request(request)]),))
        settled = pool.submit(ledger.settle, [abandoned], T)
        while not settled.done() and not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            time.sleep(0.01)
        other.commit()
        settled.result()
    assert read(ledger) == (1, 0)


def test_texts_with_nul_characters_are_stored(opener: Opener) -> None:
    ledger = opener()
    request = make_request("one", 60)
    charge = msgspec.structs.replace(request.charge, user="a\0\\\0b\\u0000")
    request = msgspec.structs.replace(request, charge=charge)
    reserved = ledger.reserve(request, T)
    assert isinstance(reserved, Reserved)
    outcome = Outcome(cost=20 * NANO, model="m\0", request_id="\0")
    ledger.settle([Settlement(request, reserved.row, reserved.at, outcome)], T)
    ledger.record(
        "batch",
        [
            LedgerRow(
                at=time.time(), state="done", kind="llm", provider="p", model="a", user="\0", served="\0"
            )
        ],
        [],
        T,
    )
    first, second = ledger.iterate_rows(RowQuery(), T)
    assert (first.user, first.served, first.request_id) == ("a\ufffd\\\ufffdb\\u0000", "m\ufffd", "\ufffd")
    assert (second.user, second.served) == ("\ufffd", "\ufffd")


def test_rows_of_a_process_that_seemed_dead_take_their_real_outcome(
    opener: Opener,
) -> None:
    ours, theirs = opener(heartbeat=Duration(600.0), silence=Duration(0.05)), opener(silence=Duration(0.05))
    request = make_request("one", 60)
    reserved = ours.reserve(request, T)
    while not theirs.recover(T):
        time.sleep(0.01)
    assert read(theirs) == (60, 0)
    settle(ours, request, reserved, 20)
    assert read(ours) == (20, 0)


def test_a_new_lease_whose_answer_was_lost_at_midnight_is_not_granted_twice(
    server: PostgresServer, url: str, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opener(lease=Duration(600.0), silence=Duration(2400.0))
    leases, sync = ledger._leases, ledger._sync_leases
    numbers = itertools.count()
    lost: list[dict[str, Any]] = []
    assert leases is not None

    def lose_first_answer(number: int, items: list[dict[str, Any]], timeout_s: float) -> dict[str, Any]:
        answer = sync(number, items, timeout_s)
        if not lost:
            lost.append(answer["items"][0])
            server.execute(  # as if midnight had come since then
                "SELECT llmcore.make_partition(llmcore.day_of(extract(epoch FROM now())::float8) - 1);"
                "UPDATE llmcore.calls SET day = day - 1, at = at - 86400 WHERE kind = 'lease'",
                url=url,
            )
            raise LedgerUnavailable("the connection was lost", busy=True, unknown=True)
        return answer

    monkeypatch.setattr(leases, "_sync", lose_first_answer)
    ends = time.monotonic() + T
    while not lost and time.monotonic() < ends:
        request = make_request(f"{next(numbers)}", 20, limit=10**9)
        settle(ledger, request, ledger.reserve(request, T), 1)
    assert lost[0]["block"][0] > 0
    ledger.flush(T)
    assert server.execute("SELECT count(*) FROM llmcore.calls WHERE kind = 'lease'", url=url) == [("0",)]
    assert read(ledger)[1] == 0


def test_a_role_that_may_only_call_the_functions_is_enough(
    server: PostgresServer, url: str, opener: Opener
) -> None:
    opener()
    server.execute(
        "CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA llmcore TO app;"
        "GRANT SELECT ON ALL TABLES IN SCHEMA llmcore TO app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA llmcore TO app",
        url=url,
    )
    database = url.rpartition("/")[2]
    ledger = opener(url=Secret(server.make_url(database, "app")), migrate=False)
    request = make_request("one", 60)
    settle(ledger, request, ledger.reserve(request, T), 30)
    assert read(ledger) == (30, 0)
    assert len(ledger.aggregate(ReportQuery(dimensions=("day",)), T)) == 1
    assert ledger.prune(time.time() + 86400 * 2, T) == 1
    with pytest.raises(RuntimeError, match="permission denied"):
        server.execute("UPDATE llmcore.budgets SET spent = 0", url=server.make_url(database, "app"))
