"""Random rows of a ledger, around the days on which clocks change, and their sums without any of our SQL."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import apsw
from hypothesis import strategies as st

__all__ = ["CHANGES", "EXAMPLES", "ZONES", "Figures", "rows", "sum_up", "write_rows"]

Figures = tuple[int, int, Decimal, Decimal, Decimal]
"""Requests, hits, cost, uncertain cost and saved cost."""

EXAMPLES: Final = int(os.environ.get("LLMCORE_LEDGERS", "20"))
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe",
                "Africa/Casablanca", "America/Havana", "Pacific/Apia", "America/St_Johns")  # fmt: skip
CHANGES: Final = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    for text in ("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2026-11-01T06:00", "2018-11-04T03:00",
                 "2011-12-30T10:00", "2026-04-04T15:00", "2026-03-22T01:00", "2026-03-08T05:00")
)  # fmt: skip
"""Moments at which clocks of ZONES change."""
COLUMNS: Final = (
    "at",
    "state",
    "count",
    "provider",
    "model",
    "cost",
    "uncertain",
    "saved",
    "input_tokens",
    "user",
    "tags",
)


@st.composite
def rows(draw: st.DrawFn, near: float | None = None) -> tuple[Any, ...]:
    """Make one row at a time around *near*, or around one of CHANGES: the values of COLUMNS."""
    near = draw(st.sampled_from(CHANGES)) if near is None else near
    at = near + draw(
        st.one_of(
            st.integers(-200_000, 200_000).map(lambda n: n / 1000),
            st.integers(-48, 48).map(lambda n: n * 900),
        )
    )
    state = draw(st.sampled_from(["done", "done", "failed", "hit", "lost"]))
    cost: int | None = draw(st.integers(0, 10**12))
    uncertain, saved, count = 0, None, 1
    if state == "hit":
        cost, saved, count = 0, draw(st.integers(0, 10**12)), draw(st.integers(1, 9))
    elif draw(st.integers(0, 4)) == 0:
        cost = None
    else:
        uncertain = 1 if state == "lost" else draw(st.integers(0, 1))
    tags = draw(st.sampled_from([None, '["x"]', '["x","ü"]']))
    return (at, state, count, "echo", draw(st.sampled_from(["a", "b:c"])), cost, uncertain, saved,
            draw(st.integers(0, 10**6)), draw(st.sampled_from([None, "ann", "<b>"])), tags)  # fmt: skip


def write_rows(folder: Path, table: list[tuple[Any, ...]]) -> None:
    """Replace all rows of the ledger in *folder*."""
    with apsw.Connection(
        str(folder / "ledger.sqlite3")
    ) as db:  # not sqlite3: two copies of SQLite in one process undo each other's locks
        db.execute("DELETE FROM calls")
        marks = ", ".join("?" * len(COLUMNS))
        last = 0
        for row in table:
            last = max(last + 1, int(row[0] * 1e6))
            db.execute(
                f"INSERT INTO calls (id, call, attempt, kind, {', '.join(COLUMNS)}) VALUES (?, '', 0, 'llm', {marks})",  # noqa: S608 - constants
                (last, *row),
            )
    db.close()


def sum_up(exported: list[dict[str, Any]], zone: str) -> dict[str, Figures]:
    """Return requests, hits, cost, uncertain cost and saved cost by local day, without any of our SQL."""
    sums: dict[str, list[Any]] = defaultdict(lambda: [0, 0, Decimal(0), Decimal(0), Decimal(0)])
    for row in exported:
        entry = sums[datetime.fromtimestamp(float(row["at"]), ZoneInfo(zone)).date().isoformat()]
        entry[row["state"] == "hit"] += int(row["count"])
        entry[3 if int(row["uncertain"]) else 2] += Decimal(row["cost"] or 0)
        entry[4] += Decimal(row["saved"] or 0)
    return {day: tuple(entry) for day, entry in sums.items()}
