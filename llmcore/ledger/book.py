"""The ledger's rows: one for each request to a backend, open before it is sent and closed after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.ledger import budgets
from llmcore.ledger.budgets import Counter, Scope
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.money import nano

if TYPE_CHECKING:
    import apsw

__all__ = ["Hold", "Limit", "Refused", "close_row", "open_row", "recover"]

_OPEN: Final = """
    INSERT INTO calls (id, at, call, attempt, state, kind, provider, model, reserved, tier_asked, user, tags, owner)
    VALUES ((SELECT max(?, ifnull(max(id) + 1, 0)) FROM calls), ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CLOSE: Final = """
    UPDATE calls SET state = ?, cost = ?, uncertain = ?, estimated = ?, served = ?, latency_ms = ?, tier = ?,
        request_id = ?, error = ?, characters = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?,
        cache_write_tokens = ?, cache_write_12h_tokens = ?, reasoning_tokens = ?, audio_input_tokens = ?,
        audio_output_tokens = ?, image_input_tokens = ?, image_output_tokens = ?, owner = NULL
    WHERE id = ? AND state = 'open'
"""

_UNDER_WAY: Final = """
    SELECT id, at, kind, provider, model, call, user, tags, reserved, owner FROM calls
    WHERE id >= (SELECT id FROM swept) AND state = 'open'
"""


class Limit(NamedTuple):
    """One configured budget, as a transaction needs it."""

    scope: Scope
    nanos: int
    refuses: bool
    """False where it only warns."""


class Refused(NamedTuple):
    """Why a row was not opened."""

    limit: Limit
    counter: Counter

    def for_good(self, most: int) -> bool:
        """Return whether waiting for what others have reserved cannot help."""
        return self.counter.spent + most > self.limit.nanos


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
    """Reserve *most* nano-dollars and write the row, or say which budget refuses; atomic with all else.

    Returns the counters as they are now, those of budgets that only warn among them.
    """
    charge = hold.charge
    hold.id = None  # of a transaction that was undone
    before = {counter.scope: counter for counter in budgets.counters_of(db, charge, hold.at)}
    new = [limit.scope for limit in limits if limit.scope not in before]
    if new:
        budgets.ensure(db, new, hold.at)
        before = {counter.scope: counter for counter in budgets.counters_of(db, charge, hold.at)}
    for limit in limits:
        counter = before.get(limit.scope)
        if counter is not None and limit.refuses and counter.spent + counter.reserved + most > limit.nanos:
            return Refused(limit, counter)
    if hold.forsaken:
        return []
    tags = json.dumps(charge.tags) if charge.tags else None
    db.execute(
        _OPEN,
        (int(hold.at * 1e6), hold.at, charge.call, charge.attempt, charge.kind, charge.provider, charge.model, most, charge.tier,
         charge.user, tags, owner),
    )  # fmt: skip
    hold.id, hold.reserved = db.last_insert_rowid(), most
    return budgets.move(db, before.values(), spent=0, reserved=most)


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
    return budgets.move(db, counters, spent=cost or 0, reserved=-hold.reserved)


def recover(db: apsw.Connection, is_dead: Callable[[str], bool]) -> int:
    """Close what dead processes left open: it counts as spent, since their requests may have been answered."""
    rows: list[Any] = db.execute(_UNDER_WAY).fetchall()
    dead = set(filter(is_dead, {row[-1] for row in rows}))
    lost = 0
    for row_id, at, kind, provider, model, call, user, tags, reserved, owner in rows:
        if owner in dead:
            charge = Charge(
                kind=kind,
                provider=provider,
                model=model,
                call=call,
                user=user,
                tags=tuple(json.loads(tags)) if tags else (),
            )
            db.execute(
                "UPDATE calls SET state = 'lost', cost = nullif(reserved, 0), uncertain = 1, owner = NULL WHERE id = ?",
                (row_id,),
            )
            budgets.move(db, budgets.counters_of(db, charge, at), spent=reserved, reserved=-reserved)
            lost += 1
    db.execute(
        "UPDATE swept SET id = ?", (min((row[0] for row in rows if row[-1] not in dead), default=_last(db)),)
    )
    return lost


def _last(db: apsw.Connection) -> int:
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    return last
