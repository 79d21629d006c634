"""The ledger's rows: one for each request to a backend, open before it is sent and closed after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.ledger import budgets
from llmcore.ledger.budgets import Counter, Scope
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.money import Amount, nano

if TYPE_CHECKING:
    import apsw

__all__ = ["Hold", "Limit", "Refused", "close_row", "open_row", "recover", "refusal"]

_OPEN: Final = """
    INSERT INTO calls
        (id, at, call, attempt, state, kind, provider, model, reserved, characters, tier_asked, user, tags, owner)
    VALUES ((SELECT max(?, ifnull(max(id) + 1, 0)) FROM calls), ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CLOSE: Final = """
    UPDATE calls SET state = ?, cost = ?, uncertain = ?, estimated = ?, served = ?, latency_ms = ?, tier = ?,
        request_id = ?, error = ?, characters = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?,
        cache_write_tokens = ?, cache_write_12h_tokens = ?, reasoning_tokens = ?, audio_input_tokens = ?,
        audio_output_tokens = ?, image_input_tokens = ?, image_output_tokens = ?, owner = NULL
    WHERE id = ? AND state = 'open'
"""

_UNDER_WAY: Final = """
    SELECT id, at, kind, provider, model, call, user, tags, reserved, characters, owner FROM calls
    WHERE id >= (SELECT id FROM swept) AND state = 'open'
"""


class Limit(NamedTuple):
    """One configured budget, as a transaction needs it."""

    scope: Scope
    amount: int
    """Nano-dollars, or characters."""
    refuses: bool
    """False where it only warns."""


class Refused(NamedTuple):
    """Why a row was not opened."""

    limit: Limit
    counter: Counter
    most: int
    """What did not fit, in the budget's unit."""

    @property
    def for_good(self) -> bool:
        """Whether waiting for what others have reserved cannot help."""
        return self.counter.spent + self.most > self.limit.amount


class Hold:
    """One open row, as its call holds it."""

    __slots__ = ("at", "charge", "forsaken", "id", "reserved")

    def __init__(self, charge: Charge, at: float) -> None:
        self.charge = charge
        self.at = at
        self.id: int | None = None
        """None where nothing is in the ledger (yet)."""
        self.reserved = 0
        """Nano-dollars."""
        self.forsaken = False
        """Whether the caller left before the row was opened: it must not be, any more."""


def open_row(
    db: apsw.Connection, hold: Hold, most: int, limits: Sequence[Limit], owner: str
) -> Refused | list[Counter]:
    """Reserve *most* nano-dollars and the characters, and write the row, or say which budget refuses; atomic with all else.

    Returns the counters as they are now, those of budgets that only warn among them.
    """
    charge = hold.charge
    hold.id = None  # of a transaction that was undone
    amount = Amount(most, charge.characters)
    counters = budgets.counted(db, charge, hold.at, [limit.scope for limit in limits])
    refused = refusal(counters, amount, limits)
    if refused is not None:
        return refused
    if hold.forsaken:
        return []
    tags = json.dumps(charge.tags) if charge.tags else None
    db.execute(
        _OPEN,
        (int(hold.at * 1e6), hold.at, charge.call, charge.attempt, charge.kind, charge.provider, charge.model, most,
         charge.characters, charge.tier, charge.user, tags, owner),
    )  # fmt: skip
    hold.id, hold.reserved = db.last_insert_rowid(), most
    return budgets.move(db, counters, spent=Amount(), reserved=amount)


def refusal(counters: Iterable[Counter], amount: Amount, limits: Sequence[Limit]) -> Refused | None:
    """Return the first of *limits* that leaves no room for *amount*."""
    there = {counter.scope: counter for counter in counters}
    for limit in limits:
        counter = there.get(limit.scope)
        if counter is not None and limit.refuses:
            most = amount.of(limit.scope.unit)
            if counter.spent + counter.reserved + most > limit.amount:
                return Refused(limit, counter, most)
    return None


def close_row(db: apsw.Connection, hold: Hold, outcome: Outcome, state: str) -> list[Counter]:
    """Settle the row; return the counters as they are now. A row that is closed already stays as it is."""
    if hold.id is None:
        return []
    usage = outcome.usage
    cost = None if outcome.cost is None else nano(outcome.cost)
    db.execute(
        _CLOSE,
        (state, cost, outcome.uncertain, usage.estimated, outcome.model or None, outcome.latency_s * 1000, outcome.tier,
         outcome.request_id, outcome.error, outcome.characters, usage.input_tokens, usage.output_tokens,
         usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_12h_tokens, usage.reasoning_tokens,
         usage.audio_input_tokens, usage.audio_output_tokens, usage.image_input_tokens, usage.image_output_tokens,
         hold.id),
    )  # fmt: skip
    if not db.changes():
        return []
    counters = budgets.counters_of(db, hold.charge, hold.at)
    return budgets.move(
        db,
        counters,
        spent=Amount(cost or 0, outcome.characters),
        reserved=Amount(-hold.reserved, -hold.charge.characters),
    )


def recover(db: apsw.Connection, is_dead: Callable[[str], bool]) -> int:
    """Close what dead processes left open: it counts as spent, since their requests may have been answered."""
    rows: list[Any] = db.execute(_UNDER_WAY).fetchall()
    dead = set(filter(is_dead, {row[-1] for row in rows}))
    lost = 0
    for row_id, at, kind, provider, model, call, user, tags, reserved, characters, owner in rows:
        if owner in dead:
            charge = Charge(
                kind=kind,
                provider=provider,
                model=model,
                call=call,
                user=user,
                tags=tuple(json.loads(tags)) if tags else (),
                characters=characters,
            )
            db.execute(
                "UPDATE calls SET state = 'lost', cost = nullif(reserved, 0), uncertain = 1, owner = NULL WHERE id = ?",
                (row_id,),
            )
            counters = budgets.counters_of(db, charge, at)
            freed = Amount(-reserved, -characters)
            budgets.move(db, counters, spent=Amount(reserved, characters), reserved=freed)
            lost += 1
    db.execute(
        "UPDATE swept SET id = ?", (min((row[0] for row in rows if row[-1] not in dead), default=_last(db)),)
    )
    return lost


def _last(db: apsw.Connection) -> int:
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    return last
