"""The rows of the ledger. Each request has one row, with its reservation and later its settled cost.

A row is opened with a reservation before the request is sent, and closed afterwards. In an open row, the column
`owner` contains the name of the owning process and the key of the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from llmcore.builtin.sqlite_ledger import counters
from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_values import (
    Amount,
    Charge,
    Counter,
    Refusal,
    Reserved,
    ReserveRequest,
    Settlement,
    find_refusal,
)
from llmcore.support.money import to_nano

if TYPE_CHECKING:
    import apsw

__all__ = ["close_rows", "open_row", "record", "recover"]

_INSERT: Final = """
    INSERT INTO calls
        (id, at, call, attempt, state, kind, provider, model, reserved, characters, tier_asked, user, tags, owner)
    SELECT max(?1, ifnull(max(id) + 1, 0)), ?2, ?3, ?4, 'open', ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 FROM calls
    WHERE NOT EXISTS (SELECT 1 FROM calls WHERE id >= ?1 AND owner = ?13)
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
"""SQLite reuses the id of a deleted row, so statements that close a row also compare time and call."""

_FIND: Final = "SELECT id FROM calls WHERE id >= ? AND owner = ?"
_SELECT_OPEN: Final = """
    SELECT id, at, kind, provider, model, call, user, tags, reserved, characters, owner FROM calls
    WHERE id >= (SELECT id FROM swept) AND state = 'open'
"""
_COLUMNS: Final = LedgerRow.__struct_fields__[1:]
_RECORD: Final = f"""
    INSERT INTO calls (id, {", ".join(_COLUMNS)})
    VALUES ((SELECT max(?, ifnull(max(id) + 1, 0)) FROM calls), {", ".join("?" * len(_COLUMNS))})
"""  # noqa: S608 - only constants are inserted


def open_row(db: apsw.Connection, request: ReserveRequest, owner: str) -> Reserved | Refusal:
    """See `LedgerProvider.reserve`."""
    charge, at = request.charge, request.at
    owner = charge.owner or owner
    found = counters.get_counters(db, charge, at, [limit.scope for limit in request.limits])
    amount = Amount(request.maximum, charge.characters)
    refusal = find_refusal(found, amount, request.limits)
    if refusal is not None:
        row = _find_row(db, request, owner)
        return refusal if row is None else Reserved(row, at, found)
    db.execute(
        _INSERT,
        (int(at * 1e6), at, charge.call, charge.attempt, charge.kind, charge.provider, charge.model, request.maximum,
         charge.characters, charge.tier, charge.user, json.dumps(charge.tags) if charge.tags else None,
         f"{owner} {request.key}"),
    )  # fmt: skip
    if not db.changes():
        return Reserved(_find_row(db, request, owner), at, found)
    row = db.last_insert_rowid()
    return Reserved(row, at, counters.update(db, found, spent=Amount(), reserved=amount))


def close_rows(db: apsw.Connection, settlements: Sequence[Settlement], owner: str) -> Sequence[Counter]:
    """See `LedgerProvider.settle`."""
    if len(settlements) == 1:
        return _close_row(db, settlements[0], owner)
    updated = {
        (counter.period, counter.text): counter
        for settlement in settlements
        for counter in _close_row(db, settlement, owner)
    }
    return list(updated.values())


def _close_row(db: apsw.Connection, settlement: Settlement, owner: str) -> Sequence[Counter]:
    request, row, at, outcome = settlement
    if row is None:
        row = _find_row(db, request, owner)
    key = (row, at, request.charge.call)
    if not outcome.requested:
        db.execute(_DELETE, key)
        return _release(db, request, at, Amount()) if db.changes() else []
    usage = outcome.usage
    cost = None if outcome.cost is None else to_nano(outcome.cost)
    first_ms = None if outcome.first_token_s is None else outcome.first_token_s * 1000
    db.execute(
        _UPDATE,
        (settlement.state, cost, outcome.cost_source, outcome.uncertain, usage.estimated, outcome.model or None,
         outcome.latency_s * 1000, first_ms, outcome.tier, outcome.request_id, outcome.error, outcome.characters,
         usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens,
         usage.cache_write_12h_tokens, usage.reasoning_tokens, usage.audio_input_tokens, usage.audio_output_tokens,
         usage.image_input_tokens, usage.image_output_tokens, *key),
    )  # fmt: skip
    return _release(db, request, at, Amount(cost or 0, outcome.characters)) if db.changes() else []


def _find_row(db: apsw.Connection, request: ReserveRequest, owner: str) -> Any:
    owner = request.charge.owner or owner
    return db.execute(_FIND, (int(request.at * 1e6), f"{owner} {request.key}")).get


def _release(db: apsw.Connection, request: ReserveRequest, at: float, spent: Amount) -> list[Counter]:
    """Release the reservation in all counters and add *spent* instead."""
    freed = Amount(-request.maximum, -request.charge.characters)
    return counters.update(db, counters.read_counters(db, request.charge, at), spent=spent, reserved=freed)


def record(db: apsw.Connection, batch: str, rows: Iterable[LedgerRow], forget: Iterable[str]) -> None:
    """See `LedgerProvider.record`."""
    db.executemany("DELETE FROM absorbed WHERE name = ?", [(name,) for name in forget])
    if db.execute("SELECT 1 FROM absorbed WHERE name = ?", (batch,)).get is not None:
        return
    for row in rows:
        values = [getattr(row, name) for name in _COLUMNS]
        values[_COLUMNS.index("tags")] = json.dumps(row.tags) if row.tags else None
        db.execute(_RECORD, (int(row.at * 1e6), *values))
        spent = Amount(row.cost or 0, row.characters)
        if spent != (0, 0):
            charge = Charge(
                kind=row.kind,
                provider=row.provider,
                model=row.model,
                call=row.call,
                user=row.user,
                tags=row.tags,
            )
            counted = counters.read_counters(db, charge, row.at)
            counters.update(db, counted, spent=spent, reserved=Amount())
    db.execute("INSERT INTO absorbed VALUES (?)", (batch,))


def recover(db: apsw.Connection, is_dead: Callable[[str], bool]) -> int:
    """See `LedgerProvider.recover`."""
    rows: list[Any] = db.execute(_SELECT_OPEN).fetchall()
    dead = set(filter(is_dead, {_get_process(row[-1]) for row in rows}))
    closed = 0
    for row_id, at, kind, provider, model, call, user, tags, reserved, characters, owner in rows:
        if _get_process(owner) in dead:
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
            counted = counters.read_counters(db, charge, at)
            freed = Amount(-reserved, -characters)
            counters.update(db, counted, spent=Amount(reserved, characters), reserved=freed)
            closed += 1
    alive = (row[0] for row in rows if _get_process(row[-1]) not in dead)
    db.execute("UPDATE swept SET id = ?", (min(alive, default=_read_last_id(db)),))
    return closed


def _get_process(owner: str | None) -> str:
    return (owner or "").partition(" ")[0]


def _read_last_id(db: apsw.Connection) -> int:
    last: int = db.execute("SELECT ifnull(max(id), 0) FROM calls").get
    return last
