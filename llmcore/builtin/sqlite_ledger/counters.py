"""The counters of budgets: the amounts spent and reserved, by scope and period.

The counters that a row changes are updated in the transaction that writes the row.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llmcore.support.budget_periods import get_period, get_periods, get_start_time
from llmcore.support.ledger_values import Amount, Charge, Counter, Scope, parse_scope
from llmcore.support.money import CHARACTERS

if TYPE_CHECKING:
    import apsw

__all__ = [
    "add_counted",
    "claim",
    "claim_alert",
    "get_counters",
    "make_empty",
    "read_budgets",
    "read_counters",
    "update",
]


def update(
    db: apsw.Connection, counters: Iterable[Counter], *, spent: Amount, reserved: Amount
) -> list[Counter]:
    """Add *spent* and *reserved* to *counters*, and return the updated ones.

    This transaction must have read *counters*.
    """
    updated = []
    for period, scope, text, spent_before, reserved_before, alerted in counters:
        now = Counter(
            period,
            scope,
            text,
            spent_before + spent.get_amount(scope.unit),
            reserved_before + reserved.get_amount(scope.unit),
            alerted,
        )
        db.execute(
            "UPDATE budgets SET spent = ?, reserved = ? WHERE period = ? AND scope = ?",
            (now.spent, now.reserved, period, text),
        )
        updated.append(now)
    return updated


def get_counters(
    db: apsw.Connection, charge: Charge, at: float, scopes: Sequence[Scope]
) -> Sequence[Counter]:
    """Create the missing counters of *scopes* from the rows of their periods. Return all counters that cover *charge*."""
    counters = read_counters(db, charge, at)
    known = {counter.scope for counter in counters}
    if known.issuperset(scopes):
        return counters
    for scope in scopes:
        key = (get_period(scope.per, at), scope.format_text())
        if db.execute("SELECT 1 FROM budgets WHERE period = ? AND scope = ?", key).get is None:
            spent, reserved = _sum_rows(db, scope, at)
            db.execute("INSERT INTO budgets VALUES (?, ?, ?, ?, 0)", (*key, spent, reserved))
    return read_counters(db, charge, at)


def read_counters(db: apsw.Connection, charge: Charge, at: float) -> list[Counter]:
    """Return the counters of the current periods that cover *charge*.

    Budgets that other processes configured are included.
    """
    return [counter for counter in _iterate_counters(db, at) if counter.scope.covers(charge)]


def read_budgets(db: apsw.Connection, scopes: Iterable[Scope], at: float) -> list[Counter]:
    """See `LedgerProvider.read_budgets`."""
    found = {
        counter.scope: counter
        for counter in _iterate_counters(db, at)
        if counter.period == get_period(counter.scope.per, at)
    }
    for scope in scopes:
        if scope not in found:
            sums = _sum_rows(db, scope, at)
            found[scope] = Counter(get_period(scope.per, at), scope, scope.format_text(), *sums, 0)
    return sorted(found.values(), key=lambda counter: counter.text)


def make_empty(scopes: Iterable[Scope], at: float) -> list[Counter]:
    """Return counters for *scopes* with all amounts 0, as in a ledger without rows."""
    empty = [Counter(get_period(scope.per, at), scope, scope.format_text(), 0, 0, 0) for scope in scopes]
    return sorted(empty, key=lambda counter: counter.text)


def claim_alert(db: apsw.Connection, counter: Counter, amount: int) -> bool:
    """See `LedgerProvider.claim_alert`."""
    db.execute(
        "UPDATE budgets SET alerted = ? WHERE period = ? AND scope = ? AND alerted < ?",
        (amount, counter.period, counter.text, amount),
    )
    return bool(db.changes())


def claim(db: apsw.Connection, name: str) -> bool:
    """See `LedgerClaims.claim`."""
    db.execute("INSERT OR IGNORE INTO absorbed VALUES (?)", (name,))
    return bool(db.changes())


def add_counted(db: apsw.Connection, batch: str, counter: Counter) -> bool:
    """See `LedgerImport.add_counted`."""
    if not claim(db, batch):
        return False
    key = (counter.period, counter.text)
    if db.execute("SELECT 1 FROM budgets WHERE period = ? AND scope = ?", key).get is None:
        sums = _sum_rows(db, counter.scope, time.time())
        db.execute("INSERT INTO budgets VALUES (?, ?, ?, ?, 0)", (*key, *sums))
    db.execute("UPDATE budgets SET spent = spent + ? WHERE period = ? AND scope = ?", (counter.spent, *key))
    return True


def _iterate_counters(db: apsw.Connection, at: float) -> Iterable[Counter]:
    rows = db.execute(
        "SELECT period, scope, spent, reserved, alerted FROM budgets WHERE period IN (?, ?, ?)",
        get_periods(at),
    )
    for period, text, spent, reserved, alerted in rows:
        yield Counter(period, parse_scope(text), text, spent, reserved, alerted)


def _sum_rows(db: apsw.Connection, scope: Scope, at: float) -> tuple[int, int]:
    start = get_start_time(scope.per, at)
    where: list[str] = ["id >= ? AND at >= ?"]
    values: list[Any] = [int(start * 1e6), start]
    if scope.model is not None:
        provider, _, model = scope.model.partition(":")
        where.append("provider = ?")
        values.append(provider)
        if model:
            where.append("model = ?")
            values.append(model)
    if scope.user is not None:
        where.append("user = ?")
        values.append(scope.user)
    if scope.tag is not None:
        where.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
        values.append(scope.tag)
    spent, reserved = ("characters", "characters") if scope.unit == CHARACTERS else ("cost", "reserved")
    sums = ", ".join(
        f"ifnull(sum(CASE WHEN state {which} 'open' THEN {column} END), 0)"
        for which, column in (("<>", spent), ("=", reserved))
    )
    row: Sequence[int] = db.execute(f"SELECT {sums} FROM calls WHERE {' AND '.join(where)}", values).get  # noqa: S608 - only constants are inserted
    return row[0], row[1]
