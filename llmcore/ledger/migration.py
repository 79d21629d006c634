"""Copy a ledger into another one: rows, API keys, and what budgets have counted beyond their rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from llmcore.errors import LedgerError
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.ledger.operations import Operations
from llmcore.support.ledger_rows import LedgerRow, RowQuery

__all__ = ["Migrated", "migrate"]

_CLOSED: Final = ("done", "failed", "lost", "hit")
_BATCH: Final = 500


class Migrated(NamedTuple):
    """What was copied."""

    rows: int
    keys: int
    budgets: int
    """Budgets whose counters were raised, because rows of their period were pruned."""


def migrate(source: Operations, target: Operations) -> Migrated:
    """Copy the ledger *source* into *target*. A second run copies only what the first one did not.

    Raises:
        LedgerError: Requests of *source* are in progress.
        LedgerUnavailable: One of the ledgers cannot be used.
    """
    source.run("prepare", LOCK_TIMEOUT_S)
    target.run("prepare", LOCK_TIMEOUT_S)
    in_progress = list(source.run("iterate_rows", RowQuery(states=("open",), limit=1), LOCK_TIMEOUT_S))
    if in_progress:
        raise LedgerError(
            f"requests of {source.provider.location} are in progress",
            expected="no process that uses the ledger",
            fix="llmcore usage open",
        )
    rows = 0
    for batch in _iter_batches(source.run("iterate_rows", RowQuery(states=_CLOSED), LOCK_TIMEOUT_S)):
        name = f"{source.provider.location} {batch[0].id} {batch[-1].id}"
        target.run("record", name, batch, [], LOCK_TIMEOUT_S)
        rows += len(batch)
    keys = _copy_keys(source, target)
    return Migrated(rows, keys, _copy_counted(source, target))


def _iter_batches(rows: Iterable[LedgerRow]) -> Iterator[Sequence[LedgerRow]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _copy_keys(source: Operations, target: Operations) -> int:
    if not (hasattr(source.provider, "read_keys") and hasattr(target.provider, "insert_key")):
        return 0
    keys = source.run("read_keys", LOCK_TIMEOUT_S)
    return sum(target.run("insert_key", key, LOCK_TIMEOUT_S) for key in keys)


def _copy_counted(source: Operations, target: Operations) -> int:
    """Raise the counters of *target* to those of *source*: rows of the current periods may have been pruned."""
    now = time.time()
    counters = source.run("read_budgets", [], now, LOCK_TIMEOUT_S)
    scopes = [counter.scope for counter in counters]
    copied: dict[Any, int] = {
        each.scope: each.spent for each in target.run("read_budgets", scopes, now, LOCK_TIMEOUT_S)
    }
    missing = [
        counter._replace(spent=counter.spent - copied[counter.scope], reserved=0)
        for counter in counters
        if counter.spent > copied[counter.scope]
    ]
    if missing:
        target.run("add_counted", missing, LOCK_TIMEOUT_S)
    return len(missing)
