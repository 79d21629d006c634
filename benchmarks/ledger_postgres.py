"""The CPU of this process for one request in the ledger `postgres`, next to the ledger `sqlite`.

A request is one `reserve` and one `settle` under one budget. The ledgers take turns. The CPU of the server is not counted. Two
lines show what no client can avoid: "libpq" sends the same statements, encoded before, and does not decode the answers; "ping"
sends two statements that the server answers at once.

A process that waits finds its caches cold when it wakes, so a busy machine multiplies the figures of `postgres`. `chrt -r 1` in
front of the command shows those of a quiet machine.

    python -m benchmarks.ledger_postgres --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg

from llmcore.builtin.options import SqliteOptions
from llmcore.builtin.sqlite_ledger.provider import SqliteLedger
from llmcore.support.ledger_values import Charge, Limit, Outcome, ReserveRequest, Scope, Settlement
from llmcore.types import Secret, Usage
from llmcore_ledger_postgres.encoding import get_day
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_ledger_postgres.statements import Reserve, Settle
from llmcore_testing.postgres_server import PostgresServer

__all__: list[str] = []

_TIMEOUT_S: Final = 60.0
_COMPANY: Final = 16
"""The number of callers at the same time."""
_LIMITS: Final = (Limit(Scope("day"), 10**15, True),)  # noqa: FBT003 - it refuses
_OUTCOME: Final = Outcome(
    cost=Decimal("0.000123"),
    cost_source="config",
    usage=Usage(input_tokens=120, output_tokens=40),
    model="gpt-6-sol-2026-08-01",
    latency_s=0.731,
    request_id="req_0123456789abcdef",
)
_numbers: Final = itertools.count()

Side = Callable[[int], float]
"""Makes that many requests and returns the CPU seconds of all threads, user and system."""


def main() -> None:
    """Measure and print the medians of the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--requests", type=int, default=160, help="in one sample")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgresServer.in_reachable_folder() as server:
        url = server.create_database()
        sqlite = SqliteLedger(SqliteOptions(path=Path(folder, "ledger.sqlite3")))
        postgres = PostgresLedger(PostgresOptions(url=Secret(url)))
        try:
            for ledger in (sqlite, postgres):
                ledger.prepare(_TIMEOUT_S)
                _run_alone(ledger, 1)
            with psycopg.connect(url, autocommit=True) as connection:
                _report(_measure(_make_sides(sqlite, postgres, connection), args.seconds, args.requests))
        finally:
            sqlite.close()
            postgres.close()


def _make_sides(
    sqlite: SqliteLedger, postgres: PostgresLedger, connection: psycopg.Connection[Any]
) -> dict[tuple[str, str], Side]:
    ways: dict[str, Callable[[Any, int], None]] = {
        "sync": _run_alone,
        "async": _run_tasks,
        f"{_COMPANY} threads": _run_threads,
        f"{_COMPANY} tasks": partial(_run_tasks, tasks=_COMPANY),
    }
    sides: dict[tuple[str, str], Side] = {
        (way, name): partial(_measure_cpu, run, ledger)
        for way, run in ways.items()
        for name, ledger in (("sqlite", sqlite), ("postgres", postgres))
    }
    sides["sync", "libpq"] = partial(_measure_libpq, postgres, connection)
    sides["sync", "ping"] = partial(_measure_cpu, _run_ping, connection)
    return sides


def _measure(
    sides: dict[tuple[str, str], Side], seconds: float, requests: int
) -> dict[tuple[str, str], list[float]]:
    """Return the microseconds of each side for one request, in each round. A first round is not counted."""
    found: dict[tuple[str, str], list[float]] = {name: [] for name in sides}
    ends, number = time.monotonic() + seconds, 0
    while time.monotonic() < ends or number < 2:  # noqa: PLR2004 - one that counts
        for name in sorted(sides, reverse=bool(number % 2)):
            used = sides[name](requests)
            if number:
                found[name].append(used / requests * 1e6)
        number += 1
    return found


def _measure_cpu(run: Callable[[Any, int], None], ledger: Any, requests: int) -> float:
    start = time.process_time()
    run(ledger, requests)
    return time.process_time() - start


def _measure_libpq(ledger: PostgresLedger, connection: psycopg.Connection[Any], requests: int) -> float:
    reserve, settle, execute = Reserve(ledger), Settle(ledger), connection.pgconn.exec_params
    encoded = []
    for _ in range(requests):
        request = _make_request()
        settlement = Settlement(request, get_day(request.at), request.at, _OUTCOME)
        opening = reserve.encode([request], _TIMEOUT_S)
        encoded.append((opening, settle.encode([[settlement]], _TIMEOUT_S)))
    start = time.process_time()
    for opening, closing in encoded:
        execute(reserve.text, opening).get_value(0, 0)
        execute(settle.text, closing).get_value(0, 0)
    return time.process_time() - start


def _make_request() -> ReserveRequest:
    name = f"{next(_numbers):x}"
    charge = Charge(
        kind="llm", provider="openai", model="gpt-6-sol", call=name, user="ann", tags=("nightly",)
    )
    return ReserveRequest(
        key=f"benchmark-{name}", charge=charge, at=time.time(), maximum=345_678, limits=_LIMITS
    )


def _run_alone(ledger: Any, requests: int) -> None:
    for _ in range(requests):
        request = _make_request()
        answer = ledger.reserve(request, _TIMEOUT_S)
        ledger.settle([Settlement(request, answer.row, answer.at, _OUTCOME)], _TIMEOUT_S)


def _run_threads(ledger: Any, requests: int) -> None:
    with ThreadPoolExecutor(_COMPANY) as pool:
        list(pool.map(_run_alone, [ledger] * _COMPANY, [requests // _COMPANY] * _COMPANY))


def _run_tasks(ledger: Any, requests: int, tasks: int = 1) -> None:
    async def run() -> None:
        for _ in range(requests // tasks):
            request = _make_request()
            answer = await ledger.areserve(request, _TIMEOUT_S)
            await ledger.asettle([Settlement(request, answer.row, answer.at, _OUTCOME)], _TIMEOUT_S)

    async def run_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(run())

    asyncio.run(run_all())


def _run_ping(connection: psycopg.Connection[Any], requests: int) -> None:
    for _ in range(2 * requests):
        connection.pgconn.exec_params(b"SELECT $1", [b"x"])


def _report(found: dict[tuple[str, str], list[float]]) -> None:
    for (way, name), used in found.items():
        ratios = [one / base for one, base in zip(used, found[way, "sqlite"], strict=True)]
        print(
            f"{way:10} {name:9} {statistics.median(used):6.0f} us of CPU a request, lowest {min(used):5.0f}, "
            f"{statistics.median(ratios):6.2f} of sqlite (median of {len(used)} rounds)"
        )


if __name__ == "__main__":
    main()
