"""Budgets in the ledger: what was spent and is reserved, by scope and period, changed inside one transaction."""

from __future__ import annotations

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
    "counted",
    "counters_of",
    "ensure",
    "move",
    "period_of",
    "periods",
    "resets_at",
    "scope_in",
]

TOTAL: Final = "total"


class Scope(msgspec.Struct, frozen=True, array_like=True):
    """What a budget counts: all calls of its ledger that fit, by whoever."""

    per: str
    """day, month or total, in UTC."""
    model: str | None = None
    """`provider:model`, or `provider:` for all of that provider."""
    tag: str | None = None
    user: str | None = None
    unit: str = USD
    """What is counted: USD, or characters that are spoken."""

    def covers(self, charge: Charge) -> bool:
        """Return whether *charge* is counted."""
        if self.model is not None:
            provider, _, model = self.model.partition(":")
            if provider != charge.provider or (model and model != charge.model):
                return False
        if self.user is not None and self.user != charge.user:
            return False
        return self.tag is None or self.tag in charge.tags

    @property
    def name(self) -> str:
        """What people call it: "day", "month openai:gpt-6-sol", "total tag=nightly"."""
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
        """Return the scope as the ledger keeps it."""
        return _encoder.encode(self).decode()


class Counter(NamedTuple):
    """What one budget has come to in one period: nano-dollars, or characters."""

    period: str
    scope: Scope
    text: str
    """The scope as the ledger keeps it."""
    spent: int
    reserved: int
    alerted: int
    """The highest amount that alerts have told of."""


_encoder: Final = msgspec.json.Encoder()


@functools.lru_cache(maxsize=1024)
def scope_in(text: str) -> Scope:
    """Return the scope that `Scope.text` wrote."""
    return msgspec.json.decode(text, type=Scope)


def periods(at: float) -> tuple[str, str, str]:
    """Return the names of the day, the month and the whole time in which *at* lies."""
    return _periods(int(at // 86400))


@functools.lru_cache(maxsize=8)
def _periods(day: int) -> tuple[str, str, str]:
    text = time.strftime("%Y-%m-%d", time.gmtime(day * 86400))
    return text, text[:7], TOTAL


def period_of(per: str, at: float) -> str:
    """Return the name of the period of a budget per *per*."""
    day, month, total = periods(at)
    return {"day": day, "month": month}.get(per, total)


def resets_at(per: str, at: float) -> str | None:
    """Return when the period ends, in ISO 8601; None where it never does."""
    now = time.gmtime(at)
    if per == "day":
        return time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime((at // 86400 + 1) * 86400))
    if per == "month":
        year, month = (now.tm_year, now.tm_mon + 1) if now.tm_mon < 12 else (now.tm_year + 1, 1)  # noqa: PLR2004
        return f"{year:04}-{month:02}-01T00:00:00Z"
    return None


def move(
    db: apsw.Connection, counters: Iterable[Counter], *, spent: Amount, reserved: Amount
) -> list[Counter]:
    """Change *counters*, which are as this transaction read them; return what they have come to."""
    moved = []
    for period, scope, text, had, held, alerted in counters:
        now = Counter(
            period, scope, text, had + spent.of(scope.unit), held + reserved.of(scope.unit), alerted
        )
        db.execute(
            "UPDATE budgets SET spent = ?, reserved = ? WHERE period = ? AND scope = ?",
            (now.spent, now.reserved, period, text),
        )
        moved.append(now)
    return moved


def ensure(db: apsw.Connection, scopes: Iterable[Scope], at: float) -> None:
    """Begin to count for *scopes* where nobody does yet: what the ledger's rows of the period say."""
    for scope in scopes:
        key = (period_of(scope.per, at), scope.text())
        if db.execute("SELECT 1 FROM budgets WHERE period = ? AND scope = ?", key).get is None:
            spent, reserved = _summed(db, scope, at)
            db.execute("INSERT INTO budgets VALUES (?, ?, ?, ?, 0)", (*key, spent, reserved))


def counted(db: apsw.Connection, charge: Charge, at: float, scopes: Sequence[Scope]) -> Sequence[Counter]:
    """Return the counters that count *charge*, those of *scopes* among them, which are begun where nobody counts yet."""
    counters = counters_of(db, charge, at)
    known = {counter.scope for counter in counters}
    if known.issuperset(scopes):
        return counters
    ensure(db, (scope for scope in scopes if scope not in known), at)
    return counters_of(db, charge, at)


def counters_of(db: apsw.Connection, charge: Charge, at: float) -> list[Counter]:
    """Return the counters of the current periods that count *charge*, whoever configured them."""
    rows = db.execute(
        "SELECT period, scope, spent, reserved, alerted FROM budgets WHERE period IN (?, ?, ?)", periods(at)
    )
    return [
        Counter(period, scope, text, spent, reserved, alerted)
        for period, text, spent, reserved, alerted in rows
        if (scope := scope_in(text)).covers(charge)
    ]


def _summed(db: apsw.Connection, scope: Scope, at: float) -> tuple[int, int]:
    start = _start(scope.per, at)
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


def _start(per: str, at: float) -> float:
    """Return when the current period began."""
    if per == "day":
        return at // 86400 * 86400
    if per == "month":
        now = time.gmtime(at)
        return (at // 86400 - (now.tm_mday - 1)) * 86400
    return 0.0
