"""The ledger `postgres` in event loops, which send statements themselves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from llmcore.errors import LedgerUnavailable
from llmcore.support.ledger_rows import RowQuery
from llmcore.support.ledger_values import (
    Outcome,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore.types import Duration
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.postgres_server import PostgresServer
from tests.kits import ledgers
from tests.kits.ledgers import Opener, T
from tests.kits.waiting import wait_until

server, url, plain_opener = ledgers.server, ledgers.url, ledgers.opener
OPTIONS = {"heartbeat": Duration(600.0), "silence": Duration(3600.0)}
USERS = {user: Scope("total", user=user) for user in ("ann", "bob")}
THREADS = """
import asyncio, sys, threading
from llmcore.types import Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore.support.ledger_values import Charge, Outcome, ReserveRequest, Settlement

def make(key):
    return ReserveRequest(key=key, charge=Charge(kind="llm", provider="p", model="a", call=key), at=0.0, maximum=1)

async def spend():
    for number in range(20):
        request = make(f"task {number}")
        answer = await ledger.areserve(request, 120.0)
        await ledger.asettle([Settlement(request, answer.row, answer.at, Outcome())], 120.0)

ledger = PostgresLedger(PostgresOptions(url=Secret(sys.argv[1])))
ledger.prepare(120.0)
ledger.reserve(make("first"), 120.0)
asyncio.run(spend())
print(*sorted(thread.name for thread in threading.enumerate()), sep=",")
ledger.close()
"""


WRITE = b"UPDATE llmcore.budgets SET alerted = alerted + 0 * $1::bigint WHERE \"user\" = 'bob' RETURNING 2"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'llmcore' AND datname = current_database()"
WRITING = f"{OURS} AND wait_event_type = 'Lock' AND query LIKE 'UPDATE %'"


@pytest.fixture
def opener(plain_opener: Opener) -> Opener:
    """Return a function that opens ledgers whose users have made a call."""

    def open_ledger(**options: Any) -> PostgresLedger:
        ledger = plain_opener(**options)
        for user in USERS:
            reserve(ledger, make_request(f"first of {user}", user))
        return ledger

    return open_ledger


def make_request(key: str, user: str, *tags: str) -> ReserveRequest:
    return ledgers.make_request(key, 1, scope=USERS[user], tags=tags)


def reserve(ledger: PostgresLedger, request: ReserveRequest) -> None:
    ledgers.settle(ledger, request, ledger.reserve(request, T), 1)


async def areserve(ledger: PostgresLedger, request: ReserveRequest) -> None:
    answer = await ledger.areserve(request, T)
    await ledger.asettle([ledgers.make_settlement(request, answer, 1)], T)


def read(ledger: PostgresLedger, user: str) -> tuple[int, int]:
    return ledgers.read(ledger, USERS[user])


def count(connection: psycopg.Connection[Any], query: str) -> int:
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])


def wait_for_lock(connection: psycopg.Connection[Any]) -> None:
    """Wait until a statement waits for a lock."""
    ends = time.monotonic() + T
    while not connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
        assert time.monotonic() < ends, "no statement waits"
        time.sleep(0.01)


@pytest.mark.process
def test_requests_of_an_event_loop_take_no_thread(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS, url], capture_output=True, text=True, check=True, timeout=T
    )
    assert done.stdout.strip() == "MainThread,llmcore-ledger-beat"


def test_a_connection_that_the_server_has_closed_is_replaced(url: str, opener: Opener) -> None:
    ledger = opener()

    async def spend() -> None:
        for number in range(3):
            with psycopg.connect(url, autocommit=True) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'llmcore'"
                )
            await areserve(ledger, make_request(f"{number}", "ann"))

    asyncio.run(spend())
    assert read(ledger, "ann") == (4, 0)


def test_a_task_leaves_a_server_that_hangs_at_its_deadline(server: PostgresServer, opener: Opener) -> None:
    ledger = opener()
    request = make_request("hanging", "ann")

    async def try_to_reserve() -> LedgerUnavailable:
        server.pause()
        try:
            with pytest.raises(LedgerUnavailable) as caught:
                await ledger.areserve(request, 0.2)
        finally:
            server.resume()
        await ledger.asettle([Settlement(request, None, 0.0, Outcome(requested=False))], T)
        await areserve(ledger, make_request("next", "ann"))
        return caught.value

    error = asyncio.run(try_to_reserve())
    assert (error.busy, error.unknown) == (True, True)
    assert read(ledger, "ann") == (2, 0)


def test_a_statement_that_waits_for_a_lock_does_not_hold_up_others(url: str, opener: Opener) -> None:
    ledger = opener()

    async def spend() -> None:
        with psycopg.connect(url) as other:
            other.execute("SELECT 1 FROM llmcore.budgets WHERE \"user\" = 'ann' FOR UPDATE")
            blocked = asyncio.create_task(areserve(ledger, make_request("blocked", "ann")))
            await asyncio.to_thread(wait_for_lock, other)
            await areserve(ledger, make_request("free", "bob"))
            assert not blocked.done()
        await blocked

    asyncio.run(spend())
    assert (read(ledger, "ann"), read(ledger, "bob")) == ((2, 0), (2, 0))


def test_a_loop_that_is_closed_keeps_no_connection(url: str, opener: Opener) -> None:
    ledger = opener(max_connections=1)
    loop = asyncio.new_event_loop()
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM llmcore.budgets WHERE \"user\" = 'ann' FOR UPDATE")
        task = loop.create_task(ledger.areserve(make_request("abandoned", "ann"), T))
        loop.run_until_complete(loop.run_in_executor(None, wait_for_lock, other))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        asyncio.run(areserve(ledger, make_request("bob", "bob")))
    assert not task.done()
    assert read(ledger, "bob") == (2, 0)


def leave_in_mid_statement(ledger: PostgresLedger, key: str, other: psycopg.Connection[Any]) -> None:
    """Close an event loop while a statement waits for a lock."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(ledger.areserve(make_request(key, "ann"), T))
    loop.run_until_complete(loop.run_in_executor(None, wait_for_lock, other))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert not task.done()


def test_a_loop_that_is_closed_leaves_its_connection_to_threads(url: str, opener: Opener) -> None:
    ledger = opener(max_connections=1)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM llmcore.budgets WHERE \"user\" = 'ann' FOR UPDATE")
        leave_in_mid_statement(ledger, "abandoned", other)
        reserve(ledger, make_request("bob", "bob"))
    assert read(ledger, "bob") == (2, 0)


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_loop_that_has_stopped_leaves_its_place_in_the_pool_to_threads(
    url: str, opener: Opener, monkeypatch: pytest.MonkeyPatch, *, is_answered: bool
) -> None:
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ledger = opener(max_connections=1)
    loop = asyncio.new_event_loop()
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM llmcore.budgets WHERE \"user\" = 'ann' FOR UPDATE")
        task = loop.create_task(ledger.areserve(make_request("stopped", "ann"), T))
        loop.run_until_complete(loop.run_in_executor(None, wait_for_lock, other))
        now[0] += 2 * T
        reserve(ledger, make_request("bob", "bob"))
        if is_answered:
            other.commit()
            with psycopg.connect(url, autocommit=True) as looker:
                wait_until(lambda: count(looker, f"{OURS} AND state = 'active'") == 0)
        with contextlib.suppress(LedgerUnavailable):  # the loop goes on, with or without an answer
            loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    reserve(ledger, make_request("bob again", "bob"))
    assert read(ledger, "bob") == (3, 0)
    with psycopg.connect(url, autocommit=True) as looker:
        wait_until(lambda: count(looker, OURS) == 1)


@pytest.mark.slow
def test_event_loops_that_end_in_mid_statement_lose_no_connection(url: str, opener: Opener) -> None:
    """Each loop ends in another way: by an error, by a cancelled task, by a signal, or closed in mid-statement."""
    ledger = opener(max_connections=3)

    async def spend(name: str, end: type[BaseException] | None) -> None:
        tasks = [
            asyncio.create_task(ledger.areserve(make_request(f"{name} {number}", user), 0.2))
            for number, user in enumerate(("ann", "bob", "ann"))
        ]
        await asyncio.wait(tasks, timeout=0.05)
        if end is not None:
            raise end
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(T)

    ends = (RuntimeError, None, KeyboardInterrupt)
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM llmcore.budgets WHERE \"user\" = 'ann' FOR UPDATE")
        for number in range(12):
            with pytest.raises((RuntimeError, asyncio.CancelledError, KeyboardInterrupt)):
                asyncio.run(spend(f"{number}", ends[number % 3]))
            if number % 3 == 2:
                leave_in_mid_statement(ledger, f"closed {number}", other)
    with (  # all connections work at once
        ThreadPoolExecutor(3) as pool,
        psycopg.connect(url) as other,
        psycopg.connect(url, autocommit=True) as looker,  # a transaction would see one state of the sessions
    ):
        other.execute("SELECT 1 FROM llmcore.budgets WHERE \"user\" = 'bob' FOR UPDATE")
        writes = [pool.submit(ledger.connections.call, WRITE, [b"%d" % number], T) for number in range(3)]
        wait_until(lambda: count(looker, WRITING) == 3)
        other.commit()
        assert [each.result() for each in writes] == [b"2"] * 3
        wait_until(lambda: count(looker, OURS) <= 3)


def test_a_descriptor_that_another_connection_has_got_is_left_alone(
    opener: Opener,
) -> None:
    ledger = opener(max_connections=1)

    async def spend() -> bytes:
        await areserve(ledger, make_request("before", "ann"))
        (session,) = ledger.connections._idle
        number = session.pgconn.socket
        session.pgconn.finish()  # libpq does so after an error
        ours, theirs = socket.socketpair()
        with theirs:
            os.dup2(ours.detach(), number)
            reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=number))
            await areserve(ledger, make_request("after", "ann"))
            theirs.sendall(b"x")
            answer = await reader.read(1)
            writer.close()
            return answer

    assert asyncio.run(spend()) == b"x"
    assert read(ledger, "ann") == (3, 0)


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_a_statement_larger_than_the_buffers_of_the_socket_is_sent(opener: Opener, variant: str) -> None:
    ledger = opener()
    request = make_request("large", "ann", "x" * 12_000_000)
    if variant == "sync":
        reserve(ledger, request)
    else:
        asyncio.run(areserve(ledger, request))
    sizes = [len(row.tags[0]) for row in ledger.iterate_rows(RowQuery(), T) if row.tags]
    assert sizes == [12_000_000]


def test_loops_and_threads_share_the_connections(opener: Opener) -> None:
    ledger = opener(max_connections=2)

    async def spend(name: int) -> None:
        await asyncio.gather(
            *(areserve(ledger, make_request(f"{name} {number}", "ann")) for number in range(10))
        )

    def spend_in_turn() -> None:
        for number in range(10):
            reserve(ledger, make_request(f"thread {number}", "ann"))

    threads = [threading.Thread(target=asyncio.run, args=(spend(name),)) for name in range(3)]
    threads.append(threading.Thread(target=spend_in_turn))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(T)
    assert read(ledger, "ann") == (41, 0)
