"""Copy a ledger into another one: rows, API keys, and amounts of budgets whose rows no longer exist."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from llmcore.errors import LedgerError
from llmcore.ledger.batch_reservations import make_request
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.ledger.migrated_sums import Claims, PrunedRows
from llmcore.ledger.operations import Operations
from llmcore.support.budget_periods import get_period
from llmcore.support.ledger_owners import is_past
from llmcore.support.ledger_rows import LedgerRow, RowQuery
from llmcore.support.ledger_sums import SUM_ATTEMPT
from llmcore.support.ledger_values import Amount, Charge, Outcome, Settlement

__all__ = ["Migrated", "migrate"]

_CLOSED: Final = ("done", "failed", "lost", "hit")
_BATCH: Final = 500


class Migrated(NamedTuple):
    """The numbers of copied items."""

    rows: int
    """The number of rows: requests, hits and sums of pruned rows."""
    keys: int
    """The number of API keys."""
    budgets: int
    """The number of budgets whose counters were raised by an amount that no row and no sum of the source accounts for."""
    deferred: int = 0
    """The number of open requests of vendors' batches. They were moved, so only the target can settle them."""


def migrate(source: Operations, target: Operations) -> Migrated:
    """Copy the ledger *source* into *target*. A second run copies only what *target* does not have.

    Prune *target* only after the last run. If *target* also records calls of its own, do not prune *source* between two
    runs.

    Raises:
        LedgerError: Requests of *source* are in progress, other than those of vendors' batches, which are moved.
        LedgerUnavailable: One of the ledgers cannot be used.
    """
    source.run("prepare", LOCK_TIMEOUT_S)
    target.run("prepare", LOCK_TIMEOUT_S)
    moved = _move_deferred(source, target)
    left = [
        [counter, counter.spent] for counter in source.run("read_budgets", [], time.time(), LOCK_TIMEOUT_S)
    ]
    rows = 0
    for batch in _iterate_batches(_iterate_missing(source, target, left)):
        # A sum keeps its id when its count grows, so the id alone does not identify its content.
        ids = [(row.id, row.count) if row.attempt == SUM_ATTEMPT else row.id for row in batch]
        numbers = hashlib.sha256(repr(ids).encode()).hexdigest()
        target.run("record", f"{source.provider.location} {numbers}", batch, [], LOCK_TIMEOUT_S)
        rows += len(batch)
    keys = _copy_keys(source, target)
    return Migrated(rows, keys, _add_pruned(source.provider.location, target, left), moved)


def _move_deferred(source: Operations, target: Operations) -> int:
    """Move the open rows of vendors' batches, which a later process settles. Return the number of moved rows.

    Raises:
        LedgerError: Other rows are open: a process is using *source*.
    """
    opened = list(source.run("iterate_rows", RowQuery(states=("open",)), LOCK_TIMEOUT_S))
    in_progress = sum(is_past(row.owner or "") is None for row in opened)
    if in_progress:
        raise LedgerError(
            f"{in_progress} requests of {source.provider.location} are in progress",
            expected="no process that uses the ledger; end the processes, or wait until `llmcore usage open` lists no open request",
            fix="llmcore usage open",
        )
    for row in opened:
        request = make_request(row)
        # If the run is repeated after a crash, the target recognises the row by its key.
        target.run("reserve", request, LOCK_TIMEOUT_S)
        unsent = Settlement(request, row.id, row.at, Outcome(requested=False))
        source.run("settle", [unsent], LOCK_TIMEOUT_S)
    return len(opened)


def _iterate_missing(
    source: Operations, target: Operations, left: Sequence[list[Any]]
) -> Iterator[LedgerRow]:
    """Yield the rows of *source* that *target* lacks. Subtract each row of *source* from the counters in *left*."""
    query = RowQuery(states=_CLOSED)
    claim = Claims(source.provider.location, target)
    pruned = PrunedRows(source.run("read_pruned", LOCK_TIMEOUT_S), claim.is_new)
    known: Counter[int] = Counter()
    replaced: dict[int, list[LedgerRow]] = {}
    """Rows of *target* from periods that were pruned in *source*, by the result of `_identify`.

    If *source* has deleted such a row, a sum of *source* includes it.
    """
    for row in target.run("iterate_rows", query, LOCK_TIMEOUT_S):
        if row.attempt == SUM_ATTEMPT:
            pruned.add_copied(row)
        elif pruned.has_period(row.at):
            replaced.setdefault(_identify(row), []).append(row)
        else:
            known[_identify(row)] += 1
    for row in source.run("iterate_rows", query, LOCK_TIMEOUT_S):
        _subtract(row, left)
        key = _identify(row)
        if row.attempt == SUM_ATTEMPT:
            pruned.add_sum(row)
        elif replaced.get(key):
            replaced[key].pop()
        elif known[key]:
            known[key] -= 1
        else:
            claim.is_new(row.at)
            yield row
    for rows in replaced.values():
        for row in rows:
            pruned.add_copied(row)
    yield from pruned.list_missing()


def _identify(row: LedgerRow) -> int:
    """Return a hash of the fields that are equal in a row and its copy. The outcome of a lost row does not change them."""
    return hash((row.at, row.call, row.attempt, row.kind, row.provider, row.model, row.count))


def _subtract(row: LedgerRow, left: Sequence[list[Any]]) -> None:
    amount = Amount(row.cost or 0, row.characters)
    if amount == (0, 0):
        return
    charge = Charge(
        kind=row.kind, provider=row.provider, model=row.model, call=row.call, user=row.user, tags=row.tags
    )
    for entry in left:
        scope = entry[0].scope
        if entry[0].period == get_period(scope.per, row.at) and scope.covers(charge):
            entry[1] -= amount.get_amount(scope.unit)


def _iterate_batches(rows: Iterable[LedgerRow]) -> Iterator[Sequence[LedgerRow]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _copy_keys(source: Operations, target: Operations) -> int:
    if not (hasattr(source.provider, "read_keys") and hasattr(target.provider, "insert_key")):
        return 0
    keys = source.run("read_keys", LOCK_TIMEOUT_S)
    return sum(target.run("insert_key", key, LOCK_TIMEOUT_S) for key in keys)


def _add_pruned(location: str, target: Operations, left: Sequence[Sequence[Any]]) -> int:
    """Add the amounts in *left*, which no row and no sum of the source accounts for, to counters of the target.

    Each counter gets its amount at the first run only. Later runs must not add the amounts of rows that
    the source has pruned since: the target has those rows already, with their costs.
    """
    raised = 0
    for counter, amount in left:
        spent = max(0, amount)
        if spent or hasattr(target.provider, "add_counted"):
            name = f"{location} {counter.period} {counter.text}"
            added = target.run("add_counted", name, counter._replace(spent=spent, reserved=0), LOCK_TIMEOUT_S)
            raised += bool(added and spent)
    return raised
