"""The table of API keys; see `LedgerKeys`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llmcore.support.ledger_values import ApiKey
from llmcore.support.money import from_nano, to_nano

if TYPE_CHECKING:
    import apsw

__all__ = ["insert_key", "read_keys", "revoke_key", "take_request"]

_ROUNDING_S: Final = 1e-6
_COLUMNS: Final = (
    "name, id, digest, budget, per, models, requests_per_minute, created_at, expires_at, revoked_at"
)


def read_keys(db: apsw.Connection) -> list[ApiKey]:
    """See `LedgerKeys.read_keys`."""
    return [_decode(row) for row in db.execute(f"SELECT {_COLUMNS} FROM keys")]  # noqa: S608 - only constants are inserted


def insert_key(db: apsw.Connection, key: ApiKey) -> bool:
    """See `LedgerKeys.insert_key`."""
    row = db.execute(f"SELECT {_COLUMNS} FROM keys WHERE name = ?", (key.name,)).fetchall()  # noqa: S608 - only constants are inserted
    if row and _decode(row[0]).is_valid(key.created_at):
        return False
    db.execute("DELETE FROM keys WHERE name = ?", (key.name,))
    values = (
        key.name,
        key.id,
        key.digest,
        None if key.budget is None else to_nano(key.budget),
        key.per,
        json.dumps(key.models),
        key.requests_per_minute,
        key.created_at,
        key.expires_at,
        key.revoked_at,
    )
    db.execute(f"INSERT INTO keys ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 - only constants are inserted
    return True


def revoke_key(db: apsw.Connection, name: str, at: float) -> None:
    """See `LedgerKeys.revoke_key`."""
    db.execute("UPDATE keys SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", (at, name))


def take_request(db: apsw.Connection, key_id: str, interval_s: float, burst_s: float) -> float:
    """See `LedgerKeys.take_request`."""
    now = time.time()
    full_at: float | None = db.execute("SELECT full_at FROM keys WHERE id = ?", (key_id,)).get
    after = max(full_at or 0.0, now) + interval_s
    wait = after - now - burst_s
    if wait > _ROUNDING_S:
        return wait
    db.execute("UPDATE keys SET full_at = ? WHERE id = ?", (after, key_id))
    return 0.0


def _decode(row: Sequence[Any]) -> ApiKey:
    name, key_id, digest, budget, per, models, requests_per_minute, created_at, expires_at, revoked_at = row
    return ApiKey(
        name=name,
        id=key_id,
        digest=digest,
        budget=None if budget is None else from_nano(budget),
        per=per,
        models=tuple(json.loads(models)),
        requests_per_minute=requests_per_minute,
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )
