"""Replace old rows by sums, in one transaction for each day. Reservations wait until the transaction has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from llmcore.support.ledger_sums import format_period, list_edges

__all__ = ["prune"]

_PRUNE_TIMEOUT_S: Final = 300.0
"""The timeout in seconds for pruning one day."""
_PRUNE_LOCK_TIMEOUT_S: Final = 1.0
"""The seconds for which pruning waits for a lock before it tries again. Reservations that arrive meanwhile
wait as long."""
_SELECT_DAYS: Final = """
    SELECT to_date(right(k.relname, 8), 'YYYYMMDD') AS day FROM pg_inherits i JOIN pg_class k ON k.oid = i.inhrelid
    WHERE i.inhparent = '{s}.calls'::regclass AND to_date(right(k.relname, 8), 'YYYYMMDD') <= {s}.day_of(%s) ORDER BY day
"""


def prune(
    read: Callable[[str, Sequence[Any], float], list[tuple[Any, ...]]],
    call: Callable[..., Any],
    before: float,
    timeout_s: float,
    edges: Sequence[float],
) -> int:
    """Replace the rows older than *before* by sums. Return the number of replaced rows.

    Args:
        read: Executes a statement.
        call: Calls a function of the schema.
        before: Seconds since 1970.
        timeout_s: The timeout for reading the days. Pruning one day has a separate timeout.
        edges: As in `LedgerProvider.prune`.
    """
    ((first,),) = read("SELECT min(at) FROM {s}.calls", (), timeout_s)
    if first is None or first >= before:
        return 0
    bounds = list_edges(first, before, edges)
    labels = [format_period(*period) for period in pairwise(bounds)]
    end = float(bounds[-1])
    wait = f"{max(1, int(min(timeout_s, _PRUNE_LOCK_TIMEOUT_S) * 1000))}ms"
    deleted = 0
    for (day,) in read(_SELECT_DAYS, (end,), timeout_s):
        deleted += int(call("prune", end, bounds, labels, day, wait, timeout_s=_PRUNE_TIMEOUT_S))
    return deleted
