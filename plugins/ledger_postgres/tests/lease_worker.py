"""A process that spends a budget with leases until it is used up: `python lease_worker.py '{"url": ..., ...}'`.

It writes the cost of each request to stdout when it would be sent. The test reads from the pipe what was really spent.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from decimal import Decimal

from llmcore.errors import LedgerUnavailable
from llmcore.support.ledger_values import (
    Charge,
    Limit,
    Outcome,
    Refusal,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore.types import Duration, Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger

MAXIMUM = 20
SCOPES = (Scope("total"), Scope("day"), Scope("month", user="ann"))
NANO = Decimal(10) ** -9


def spend(ledger: PostgresLedger, limit: int, latency_s: float) -> None:
    """Reserve, send and settle requests until a budget refuses for ever."""
    limits = [Limit(scope, limit * factor, True) for factor, scope in enumerate(SCOPES, 1)]  # noqa: FBT003
    charge = Charge(kind="llm", provider="p", model="a", call="c", user="ann")
    while True:
        request = ReserveRequest(
            key=os.urandom(8).hex(), charge=charge, at=time.time(), maximum=MAXIMUM, limits=limits
        )
        try:
            answer = ledger.reserve(request, 60.0)
        except LedgerUnavailable:
            continue
        if isinstance(answer, Refusal):
            if answer.is_permanent:
                return
            ledger.recover(60.0)
            time.sleep(0.02)
            continue
        cost = random.randint(1, MAXIMUM)  # noqa: S311 - no secret
        os.write(1, f"{cost}\n".encode())
        if latency_s:
            time.sleep(latency_s)
        settlement = Settlement(request, answer.row, answer.at, Outcome(cost=cost * NANO))
        while True:
            try:
                ledger.settle([settlement], 60.0)
                break
            except LedgerUnavailable:
                continue


def main() -> None:
    """Spend in several threads."""
    given = json.loads(sys.argv[1])
    ledger = PostgresLedger(
        PostgresOptions(
            url=Secret(given["url"]),
            lease=Duration(given["lease"]),
            silence=Duration(given["silence"]),
            heartbeat=Duration(given["silence"] / 8),
            connect_timeout=Duration(10.0),
        )
    )
    ledger.prepare(60.0)
    threads = [
        threading.Thread(target=spend, args=(ledger, given["limit"], given["latency"]))
        for _ in range(given["threads"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()


if __name__ == "__main__":
    main()
