"""`core.keys`: the API keys of a gateway's clients. The ledger stores hashes of the keys.

A key's name is the `user` of the calls with this key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from llmcore import forks
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.config.money import Budget
from llmcore.errors import LedgerError
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.process_bound import ProcessBound
from llmcore.support.ledger_values import ApiKey

if TYPE_CHECKING:
    from llmcore.ledger.spending import Spending

__all__ = ["ApiKey", "ApiKeys", "Period"]

Period = Literal["day", "month", "total"]

_PREFIX: Final = "llmcore-"
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}")
_STALE_S: Final = 0.5
"""The maximum age of the keys in memory, in seconds. Every process therefore rejects a revoked key within a second."""
_BURST_S: Final = 60.0
"""The burst of a key in seconds: a key may use the requests of one minute at once."""


class ApiKeys(ProcessBound):
    """The keys of a ledger. All processes that use the ledger share them."""

    def __init__(self, opener: Callable[[], Spending], run_query: Callable[..., Any]) -> None:
        self._opener = opener
        self._run = run_query
        self._known: dict[str, ApiKey] = {}
        self._read_at: float | None = None
        self._lock = forks.lock()

    def create(
        self,
        name: str,
        *,
        budget: Decimal | None = None,
        per: Period = "total",
        models: Sequence[str] = (),
        requests_per_minute: int | None = None,
        expires_in_s: float | None = None,
    ) -> tuple[ApiKey, str]:
        """Store a new key. Return the key and its text; the text cannot be read again.

        Raises:
            LedgerError: The name is malformed, another valid key has this name, or the ledger cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise LedgerError(
                f"a key's name must be 1 to 64 letters, digits or `. _ @ -`, the first a letter or digit, got {name!r}",
                expected="a name such as `alice` or `team-search`",
            )
        if requests_per_minute is not None and requests_per_minute < 1:
            raise LedgerError(
                f"requests_per_minute must be at least 1, got {requests_per_minute}",
                expected="a whole number from 1, or None for no limit",
                fix=f"llmcore keys create {name} --requests-per-minute 60",
            )
        now = time.time()
        key_id = secrets.token_hex(4)
        text = f"{_PREFIX}{key_id}-{secrets.token_urlsafe(32)}"
        key = ApiKey(
            name=name,
            id=key_id,
            digest=_hash(text),
            budget=budget,
            per=per,
            models=tuple(models),
            requests_per_minute=requests_per_minute,
            created_at=now,
            expires_at=None if expires_in_s is None else now + expires_in_s,
        )
        if not self._run_operation("insert_key", key):
            raise LedgerError(
                f"there is a key `{name}` already",
                expected="a name without a valid key",
                fix=f"llmcore keys revoke {name}",
            )
        self._read_at = None
        return key, text

    def revoke(self, name: str) -> ApiKey:
        """Revoke the key *name*, and return the key. A key that is already revoked does not change.

        Raises:
            LedgerError: No key has the name, or the ledger cannot be read or written.
        """
        keys = {key.name: key for key in self.list_keys()}
        if name not in keys:
            from difflib import get_close_matches

            near = get_close_matches(name, keys, n=1)
            raise LedgerError(
                f"there is no key `{name}`",
                expected=f"one of {', '.join(sorted(keys))}" if keys else "a key, but this ledger has none",
                suggestion=near[0] if near else None,
                fix=f"llmcore keys revoke {near[0]}" if near else "llmcore keys list",
            )
        now = time.time()
        self._run_operation("revoke_key", name, now)
        self._read_at = None
        return msgspec.structs.replace(keys[name], revoked_at=keys[name].revoked_at or now)

    def list_keys(self) -> list[ApiKey]:
        """Return all keys, including revoked and expired keys, sorted by name."""
        return sorted(self._read(), key=lambda key: key.name)

    def has_keys(self) -> bool:
        """Return whether a key was ever created, even if the key is revoked or expired.

        A gateway requires a key if one exists.
        """
        return bool(self._refresh())

    def find(self, text: str) -> ApiKey | None:
        """Return the valid key with the text *text*; None if there is no such key.

        The keys in memory are at most half a second old. The comparison takes constant time.
        """
        key = self._refresh().get(text[len(_PREFIX) :].partition("-")[0])
        digest = _hash(text)
        if key is None or not hmac.compare_digest(digest, key.digest):
            return None
        return key if key.is_valid(time.time()) else None

    def take_request(self, key: ApiKey) -> float:
        """Take one request from the rate limit of *key*. Return the seconds to wait; 0 if the request is allowed."""
        wait: float = run(self._take(key))
        return wait

    async def atake_request(self, key: ApiKey) -> float:
        """See `take_request`."""
        wait: float = await arun(self._take(key))
        return wait

    def _take(self, key: ApiKey) -> Act[float]:
        if key.requests_per_minute is None:
            return 0.0
        interval = 60.0 / key.requests_per_minute
        operations = self._opener().operations
        wait: float = yield operations.make_step("take_request", key.id, interval, _BURST_S, LOCK_TIMEOUT_S)
        return wait

    def _refresh(self) -> dict[str, ApiKey]:
        """Return the keys by id. If they are stale, read them again and pass their budgets to the ledger."""
        now = time.monotonic()
        if self._read_at is not None and now - self._read_at < _STALE_S:
            return self._known
        with self._lock:
            if self._read_at is None or now - self._read_at >= _STALE_S:
                found = {key.id: key for key in self._read()}
                if found != self._known:
                    # the budget of a key must apply before the key is accepted
                    self._opener().set_user_budgets(_make_budgets(found.values()))
                    self._known = found
                self._read_at = now
        return self._known

    def _read(self) -> list[ApiKey]:
        return list(self._run_operation("read_keys"))

    def _run_operation(self, name: str, *args: Any) -> Any:
        def act() -> Any:
            spending = self._opener()
            try:
                return spending.operations.run(name, *args, LOCK_TIMEOUT_S)
            except Exception:
                if spending.is_prepared:
                    raise
            spending.prepare()  # a new ledger may have no tables
            return spending.operations.run(name, *args, LOCK_TIMEOUT_S)

        return self._run(act, "read" if name == "read_keys" else "written")


def _hash(text: str) -> bytes:
    """Return the digest of a key. A key has 256 random bits, so a slow hash would not make it safer."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _make_budgets(keys: Iterable[ApiKey]) -> list[Budget]:
    return [
        Budget(limit=key.budget, per=key.per, user=key.name)
        for key in keys
        if key.budget is not None and key.revoked_at is None
    ]
