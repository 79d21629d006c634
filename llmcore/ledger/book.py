"""The rows of the ledger, one for each request: its reservation and its settled cost.

The row is opened with a reservation before the request is sent, and closed afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmcore.ledger import budgets
from llmcore.ledger.budgets import Counter, Scope
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.money import Amount, from_nano, to_nano
from llmcore.support.sending import Sending

if TYPE_CHECKING:
    import apsw

__all__ = [
    "Limit",
    "Refusal",
    "Reservation",
    "close_row",
    "find_refusal",
    "make_cancelled",
    "open_row",
    "recover",
]

_INSERT: Final = """
    INSERT INTO calls
        (id, at, call, attempt, state, kind, provider, model, reserved, characters, tier_asked, user, tags, owner)
    VALUES ((SELECT max(?, ifnull(max(id) + 1, 0)) FROM calls), ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE: Final = """
    UPDATE calls SET state = ?, cost = ?, cost_source = ?, uncertain = ?, estimated = ?, served = ?, latency_ms = ?,
        first_token_ms = ?, tier = ?,
        request_id = ?, error = ?, characters = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?,
        cache_write_tokens = ?, cache_write_12h_tokens = ?, reasoning_tokens = ?, audio_input_tokens = ?,
        audio_output_tokens = ?, image_input_tokens = ?, image_output_tokens = ?, owner = NULL
    WHERE id = ? AND at = ? AND call = ? AND state = 'open'
"""
_DELETE: Final = "DELETE FROM calls WHERE id = ? AND at = ? AND call = ? AND state = 'open'"
"""SQLite reuses the id of a deleted row, so every statement that closes a row also compares its time and its call."""

_SELECT_OPEN: Final = """
    SELECT id, at, kind, provider, model, call, user, tags, reserved, characters, owner FROM calls
    WHERE id >= (SELECT id FROM swept) AND state = 'open'
"""


class Limit(NamedTuple):
    """One configured budget, in the integers of the ledger."""

    scope: Scope
    amount: int
    """The limit in nano-dollars or characters."""
    refuses: bool
    """False if the budget only warns."""


class Refusal(NamedTuple):
    """A budget whose rest is too small for a request."""

    limit: Limit
    counter: Counter
    maximum: int
    """The maximum cost of the request, in the unit of the budget."""

    @property
    def is_permanent(self) -> bool:
        """Whether the request would not fit even if all other reservations were released."""
        return self.counter.spent + self.maximum > self.limit.amount


class Reservation:
    """The reservation of one request: its open row."""

    __slots__ = ("abandoned", "at", "charge", "id", "pid", "reserved", "sending")

    def __init__(self, charge: Charge, at: float) -> None:
        self.charge = charge
        self.at = at
        self.id: int | None = None
        """The id of the row; None before the row is opened."""
        self.reserved = 0
        """Nano-dollars."""
        self.sending = Sending()
        self.pid = os.getpid()
        """The process that made the request.

        A forked child has a copy of the reservation and must not settle it.
        """
        self.abandoned = False
        """Whether the caller left before the row was opened. In this case the row must not be opened."""


def open_row(
    db: apsw.Connection, reservation: Reservation, maximum: int, limits: Sequence[Limit], owner: str
) -> Refusal | list[Counter]:
    """Reserve *maximum* nano-dollars and the characters of the request, and insert its row, in one transaction.

    Returns:
        The updated counters, including those of budgets that only warn; or the budget whose rest is too
        small.
    """
    charge = reservation.charge
    reservation.id = None  # the id may be left from a transaction that was rolled back
    amount = Amount(maximum, charge.characters)
    counters = budgets.get_counters(db, charge, reservation.at, [limit.scope for limit in limits])
    refused = find_refusal(counters, amount, limits)
    if refused is not None:
        return refused
    if reservation.abandoned:
        return []
    tags = json.dumps(charge.tags) if charge.tags else None
    db.execute(
        _INSERT,
        (int(reservation.at * 1e6), reservation.at, charge.call, charge.attempt, charge.kind, charge.provider, charge.model, maximum,
         charge.characters, charge.tier, charge.user, tags, owner),
    )  # fmt: skip
    reservation.id, reservation.reserved = db.last_insert_rowid(), maximum
    return budgets.update(db, counters, spent=Amount(), reserved=amount)


def find_refusal(counters: Iterable[Counter], amount: Amount, limits: Sequence[Limit]) -> Refusal | None:
    """Return the first of *limits* whose rest is smaller than *amount*."""
    by_scope = {counter.scope: counter for counter in counters}
    for limit in limits:
        counter = by_scope.get(limit.scope)
        if counter is not None and limit.refuses:
            maximum = amount.of(limit.scope.unit)
            if counter.spent + counter.reserved + maximum > limit.amount:
                return Refusal(limit, counter, maximum)
    return None


def close_row(db: apsw.Connection, reservation: Reservation, outcome: Outcome, state: str) -> list[Counter]:
    """Settle the row, or delete it if no request was made; return the updated counters.

    A row that is already closed stays as it is.
    """
    if reservation.id is None:
        return []
    if not outcome.requested:
        db.execute(_DELETE, (reservation.id, reservation.at, reservation.charge.call))
        return _release(db, reservation, Amount()) if db.changes() else []
    usage = outcome.usage
    cost = None if outcome.cost is None else to_nano(outcome.cost)
    first_ms = None if outcome.first_token_s is None else outcome.first_token_s * 1000
    db.execute(
        _UPDATE,
        (state, cost, outcome.cost_source, outcome.uncertain, usage.estimated, outcome.model or None, outcome.latency_s * 1000,
         first_ms, outcome.tier, outcome.request_id, outcome.error, outcome.characters, usage.input_tokens, usage.output_tokens,
         usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_12h_tokens, usage.reasoning_tokens,
         usage.audio_input_tokens, usage.audio_output_tokens, usage.image_input_tokens, usage.image_output_tokens,
         reservation.id, reservation.at, reservation.charge.call),
    )  # fmt: skip
    return _release(db, reservation, Amount(cost or 0, outcome.characters)) if db.changes() else []


def make_cancelled(reservation: Reservation) -> Outcome:
    """Withdraw a request whose call cannot end, and return its outcome.

    The maximum cost, unless it was not sent.
    """
    unsent = reservation.sending.withdraw()
    return Outcome(
        cost=from_nano(reservation.reserved) if reservation.reserved else None,
        uncertain=not unsent,
        requested=not unsent,
        characters=reservation.charge.characters,
        error="cancelled",
    )


def _release(db: apsw.Connection, reservation: Reservation, spent: Amount) -> list[Counter]:
    """Release *reservation* in all counters and add *spent* instead."""
    counters = budgets.read_counters(db, reservation.charge, reservation.at)
    return budgets.update(
        db, counters, spent=spent, reserved=Amount(-reservation.reserved, -reservation.charge.characters)
    )


def recover(db: apsw.Connection, is_dead: Callable[[str], bool]) -> int:
    """Close the open rows of dead processes at their maximum cost.

    Their requests may have been answered.

    Returns:
        The number of rows closed.
    """
    rows: list[Any] = db.execute(_SELECT_OPEN).fetchall()
    dead = set(filter(is_dead, {row[-1] for row in rows}))
    closed = 0
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
            counters = budgets.read_counters(db, charge, at)
            freed = Amount(-reserved, -characters)
            budgets.update(db, counters, spent=Amount(reserved, characters), reserved=freed)
            closed += 1
    db.execute(
        "UPDATE swept SET id = ?",
        (min((row[0] for row in rows if row[-1] not in dead), default=_read_last_id(db)),),
    )
    return closed


def _read_last_id(db: apsw.Connection) -> int:
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    return last
