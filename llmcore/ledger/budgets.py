"""The counters of budgets: the amounts spent and reserved, by scope and period.

A counter is updated in the same transaction as the row.
"""

from __future__ import annotations

import calendar
import functools
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from llmcore.ledger.charge import Charge
from llmcore.ledger.money import CHARACTERS, USD, Amount

if TYPE_CHECKING:
    import apsw

__all__ = [
    "Counter",
    "Scope",
    "create_missing",
    "get_counters",
    "get_elapsed",
    "get_period",
    "get_periods",
    "get_reset_time",
    "parse_scope",
    "read_counters",
    "read_spent",
    "update",
]

TOTAL: Final = "total"


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """The requests that a budget counts. All processes that share the ledger are included."""

    per: str
    """day, month or total, in UTC."""
    model: str | None = None
    """`provider:model`, or `provider:` for all models of the provider."""
    tag: str | None = None
    user: str | None = None
    unit: str = USD
    """USD, or characters of synthesized text."""

    def covers(self, charge: Charge) -> bool:
        """Return whether the budget counts *charge*."""
        if self.model is not None:
            provider, _, model = self.model.partition(":")
            if provider != charge.provider or (model and model != charge.model):
                return False
        if self.user is not None and self.user != charge.user:
            return False
        return self.tag is None or self.tag in charge.tags

    @property
    def name(self) -> str:
        """The name to display: "day", "month openai:gpt-6-sol", "total tag=nightly"."""
        unit = self.unit if self.unit != USD else None
        parts = [
            self.per,
            unit,
            self.model,
            self.tag and f"tag={self.tag}",
            self.user and f"user={self.user}",
        ]
        return " ".join(part for part in parts if part)

    def text(self) -> str:
        """Return the scope as stored in the ledger."""
        return _encoder.encode(self).decode()


class Counter(NamedTuple):
    """The state of one budget in one period, in nano-dollars or characters."""

    period: str
    scope: Scope
    text: str
    """The scope as stored in the ledger."""
    spent: int
    reserved: int
    alerted: int
    """The highest amount for which an alert was sent."""


_encoder: Final = msgspec.json.Encoder()


@functools.lru_cache(maxsize=1024)
def parse_scope(text: str) -> Scope:
    """Return the scope that `Scope.text` encoded."""
    return msgspec.json.decode(text, type=Scope)


def get_periods(at: float) -> tuple[str, str, str]:
    """Return the names of the three periods that contain *at*: day, month, total."""
    return _get_periods(int(at // 86400))


@functools.lru_cache(maxsize=8)
def _get_periods(day: int) -> tuple[str, str, str]:
    text = time.strftime("%Y-%m-%d", time.gmtime(day * 86400))
    return text, text[:7], TOTAL


def get_period(per: str, at: float) -> str:
    """Return the name of the period that contains *at*; *per* is day, month or total."""
    day, month, total = get_periods(at)
    return {"day": day, "month": month}.get(per, total)


def get_reset_time(per: str, at: float) -> str | None:
    """Return when the period ends, in ISO 8601; None for a total."""
    now = time.gmtime(at)
    if per == "day":
        return time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime((at // 86400 + 1) * 86400))
    if per == "month":
        year, month = (now.tm_year, now.tm_mon + 1) if now.tm_mon < 12 else (now.tm_year + 1, 1)  # noqa: PLR2004
        return f"{year:04}-{month:02}-01T00:00:00Z"
    return None


def get_elapsed(per: str, at: float) -> float | None:
    """Return the part of the period that has passed at the time *at*, from 0 to 1; None for a total."""
    if per == TOTAL:
        return None
    now = time.gmtime(at)
    days = 1 if per == "day" else calendar.monthrange(now.tm_year, now.tm_mon)[1]
    return (at - _get_start_time(per, at)) / (days * 86400)


def update(
    db: apsw.Connection, counters: Iterable[Counter], *, spent: Amount, reserved: Amount
) -> list[Counter]:
    """Add *spent* and *reserved* to *counters*, which this transaction has read; return the updated counters."""
    updated = []
    for period, scope, text, spent_before, reserved_before, alerted in counters:
        now = Counter(
            period,
            scope,
            text,
            spent_before + spent.of(scope.unit),
            reserved_before + reserved.of(scope.unit),
            alerted,
        )
        db.execute(
            "UPDATE budgets SET spent = ?, reserved = ? WHERE period = ? AND scope = ?",
            (now.spent, now.reserved, period, text),
        )
        updated.append(now)
    return updated


def create_missing(db: apsw.Connection, scopes: Iterable[Scope], at: float) -> None:
    """Create the counters of *scopes* that do not exist yet, from the rows of the current period."""
    for scope in scopes:
        key = (get_period(scope.per, at), scope.text())
        if db.execute("SELECT 1 FROM budgets WHERE period = ? AND scope = ?", key).get is None:
            spent, reserved = _sum_rows(db, scope, at)
            db.execute("INSERT INTO budgets VALUES (?, ?, ?, ?, 0)", (*key, spent, reserved))


def get_counters(
    db: apsw.Connection, charge: Charge, at: float, scopes: Sequence[Scope]
) -> Sequence[Counter]:
    """Create the missing counters of *scopes*, and return all counters that count *charge*."""
    counters = read_counters(db, charge, at)
    known = {counter.scope for counter in counters}
    if known.issuperset(scopes):
        return counters
    create_missing(db, (scope for scope in scopes if scope not in known), at)
    return read_counters(db, charge, at)


def read_counters(db: apsw.Connection, charge: Charge, at: float) -> list[Counter]:
    """Return the counters of the current periods that count *charge*.

    Budgets that other processes configured are included.
    """
    rows = db.execute(
        "SELECT period, scope, spent, reserved, alerted FROM budgets WHERE period IN (?, ?, ?)",
        get_periods(at),
    )
    return [
        Counter(period, scope, text, spent, reserved, alerted)
        for period, text, spent, reserved, alerted in rows
        if (scope := parse_scope(text)).covers(charge)
    ]


def read_spent(db: apsw.Connection, scope: Scope, at: float) -> int:
    """Return what is spent and reserved of *scope*, in nano-dollars or characters, and write nothing."""
    found: Any = db.execute(
        "SELECT spent + reserved FROM budgets WHERE period = ? AND scope = ?",
        (get_period(scope.per, at), scope.text()),
    ).get
    return sum(_sum_rows(db, scope, at)) if found is None else int(found)


def _sum_rows(db: apsw.Connection, scope: Scope, at: float) -> tuple[int, int]:
    start = _get_start_time(scope.per, at)
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
    row: Sequence[int] = db.execute(f"SELECT {sums} FROM calls WHERE {' AND '.join(where)}", values).get  # noqa: S608 - constants
    return row[0], row[1]


def _get_start_time(per: str, at: float) -> float:
    """Return when the current period began, in seconds since 1970."""
    if per == "day":
        return at // 86400 * 86400
    if per == "month":
        now = time.gmtime(at)
        return (at // 86400 - (now.tm_mday - 1)) * 86400
    return 0.0
