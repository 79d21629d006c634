"""Ledgers with made-up rows, for reports and pages."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import apsw

import llmcore

__all__ = ["add_rows", "make_rows"]


def make_rows(
    count: int, now: float, *, days: float = 30, models: Sequence[str] = ("fast", "large"), seed: int = 1
) -> Iterator[dict[str, Any]]:
    """Yield *count* rows from *days* before *now* until *now*: answers, hits, failures and rows without a price."""
    pick = random.Random(seed)  # noqa: S311 - no secret
    for number in range(count):
        at = now - days * 86400 * (1 - (number + pick.random()) / count)
        row: dict[str, Any] = {
            "at": round(at, 3), "call": f"c{number}", "attempt": 1, "state": "done", "kind": "llm", "provider": "openai",
            "model": pick.choice(models), "cost": pick.randrange(20_000_000), "input_tokens": pick.randrange(4000),
            "output_tokens": pick.randrange(900), "latency_ms": round(pick.lognormvariate(7, 0.7), 3),
            "user": pick.choice(["ann", "ben", None]), "tags": json.dumps(["nightly"]) if pick.random() < 0.3 else None,
        }  # fmt: skip
        kind = pick.random()
        if kind < 0.3:
            row |= {"state": "hit", "attempt": 0, "call": "", "count": pick.randrange(1, 6), "cost": 0, "latency_ms": None,
                    "saved": pick.randrange(5_000_000), "input_tokens": 0, "output_tokens": 0}  # fmt: skip
        elif kind < 0.36:
            row |= {
                "state": "failed",
                "cost": 0,
                "error": pick.choice(["LC401 Unavailable", "LC402 RateLimited"]),
            }
        elif kind < 0.39:
            row |= {"state": "failed", "uncertain": 1, "error": "cancelled"}
        elif kind < 0.42:
            row |= {"cost": None}
        elif kind < 0.7:
            row |= {"first_token_ms": round(pick.lognormvariate(5.5, 0.6), 3)}
        yield row


def add_rows(core: llmcore.Core, rows: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> None:
    """Add *rows* to the ledger of *core*."""
    core.usage.by("total")  # creates the file
    # Not sqlite3: two copies of SQLite in one process undo each other's locks.
    db = apsw.Connection(core.settings.ledger.path or "")
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    with db:
        for row in rows:
            last = max(last + 1, int(row["at"] * 1e6))
            marks = ", ".join("?" * (len(row) + 1))
            db.execute(f"INSERT INTO calls (id, {', '.join(row)}) VALUES ({marks})", (last, *row.values()))  # noqa: S608 - constants
    db.close()
