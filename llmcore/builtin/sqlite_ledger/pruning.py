"""Replace old rows by the sums of their days; see `LedgerProvider.prune`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from llmcore.support.ledger_sums import (
    SUM_AMOUNTS,
    SUM_ATTEMPT,
    SUM_KEYS,
    format_period,
    list_edges,
    parse_period,
)

if TYPE_CHECKING:
    import apsw

__all__ = ["prune", "read_pruned"]

_CHUNK: Final = 10_000
"""The number of rows in one transaction, which holds the write lock for about 50 ms."""
_CHUNK_ROWS: Final = f"""
    SELECT id, at FROM calls WHERE id > ? AND at < ? AND state <> 'open' AND attempt <> {SUM_ATTEMPT} ORDER BY id LIMIT ?
"""  # noqa: S608 - only constants are inserted
_SELECT: Final = f"""
    SELECT min(id), {", ".join(SUM_KEYS)}, {", ".join(f"sum({name})" for name in SUM_AMOUNTS)} FROM calls
    WHERE id BETWEEN ? AND ? AND at >= ? AND at < ? AND state <> 'open' AND attempt <> {SUM_ATTEMPT}
    GROUP BY {", ".join(SUM_KEYS)}, cost IS NULL
"""  # noqa: S608 - only constants are inserted
_DELETE: Final = f"""
    DELETE FROM calls WHERE id BETWEEN ? AND ? AND at < ? AND state <> 'open' AND attempt <> {SUM_ATTEMPT}
"""  # noqa: S608 - only constants are inserted
_INSERT: Final = f"""
    INSERT INTO calls (at, call, attempt, id, {", ".join((*SUM_KEYS, *SUM_AMOUNTS))})
    VALUES ({", ".join("?" * (4 + len(SUM_KEYS) + len(SUM_AMOUNTS)))})
"""  # noqa: S608 - only constants are inserted
_NEXT: Final = f"SELECT at, call FROM calls WHERE attempt = {SUM_ATTEMPT} AND (at, call) > (?, ?) ORDER BY at, call LIMIT 1"  # noqa: S608 - only constants are inserted

Write = Callable[[Callable[["apsw.Connection"], Any]], Any]
"""A function that runs work in a transaction."""


def prune(write: Write, before: float, edges: Sequence[float]) -> int:
    """See `LedgerProvider.prune`. Calls can write rows meanwhile, because each transaction replaces only some rows."""
    last, deleted = -1, 0
    while True:
        found = write(partial(_prune_chunk, before=int(before), edges=edges, last=last))
        if found is None:
            return deleted
        last, size = found
        deleted += size


def _prune_chunk(
    db: apsw.Connection, *, before: int, edges: Sequence[float], last: int
) -> tuple[int, int] | None:
    """Replace the next rows after the id *last*. Return the last id and the number of rows; None if no row is left."""
    rows: list[Any] = db.execute(_CHUNK_ROWS, (last, before, _CHUNK)).fetchall()
    if not rows:
        return None
    first, last = rows[0][0], rows[-1][0]
    oldest, latest = min(at for _, at in rows), max(at for _, at in rows)
    sums: list[tuple[Any, ...]] = []
    for start, end in pairwise(list_edges(oldest, before, edges)):
        if start <= latest and end > oldest:
            head = (float(start), format_period(start, end), SUM_ATTEMPT)
            sums += [(*head, *row) for row in db.execute(_SELECT, (first, last, start, end))]
    db.execute(_DELETE, (first, last, before))
    db.executemany(_INSERT, sums)  # a sum reuses the id of one of the rows that it replaces
    return last, len(rows)


def read_pruned(db: apsw.Connection) -> list[tuple[float, float]]:
    """See `LedgerProvider.read_pruned`."""
    periods: list[tuple[float, float]] = []
    last: Any = (float("-inf"), "")
    while rows := db.execute(_NEXT, last).fetchall():
        last = rows[0]
        periods.append(parse_period(last[1]))
    return periods
