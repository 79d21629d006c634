"""Replace an unreachable cache backend: serve entries from memory, and postpone invalidations."""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.cache.breaker import Breaker, is_unreachable
from llmcore.cache.invalidation import Invalidation, PendingInvalidations
from llmcore.cache.outage import Outage
from llmcore.cache.tier import Tier
from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import translate_error
from llmcore.calls.steps import Act
from llmcore.errors import CacheError
from llmcore.interrupts import is_interrupt
from llmcore.log import get_logger

__all__ = ["OutageBackend"]


class OutageBackend:
    """Replaces the backend while the circuit breaker is open.

    Args:
        backend: The backend to replace.
        is_enabled: If False, every look-up during an outage is a miss, and invalidations are lost.
    """

    def __init__(self, backend: Backend, *, is_enabled: bool) -> None:
        self.is_enabled = is_enabled
        self._backend = backend
        self._outage: Outage | None = None
        self._pending = PendingInvalidations()

    # -- entries

    def get(self, key: str) -> bytes | None:
        """Return the value that may be served; None without such a value, or if no outage is in progress."""
        outage = self._outage
        return None if outage is None else outage.get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the values that may be served, by key."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def put(self, key: str, value: bytes, ttl: float | None) -> None:
        """Store *value* for *ttl* seconds, at most until the outage ends.

        If no outage is in progress, do nothing.
        """
        outage = self._outage
        if outage is not None:
            outage.put(key, value, ttl)

    def pin(self, key: str) -> None:
        """See `Outage.pin`. Do nothing if no outage is in progress."""
        outage = self._outage
        if outage is not None:
            outage.pin(key)

    # -- begin and end: called with the lock of the breaker; must not wait

    def begin(self, tier: Tier | None) -> None:
        """Take over the entries of the memory tier *tier*; without a tier, every look-up is a miss."""
        if self.is_enabled and tier is not None:
            self._outage = tier.begin_outage()

    def end(self, tier: Tier | None) -> bool:
        """Drop all entries and return True; if invalidations are pending, return False and do nothing."""
        if self._pending:
            return False
        self._outage = None
        if tier is not None:
            tier.end_outage()
        return True

    def close(self) -> None:
        """Drop everything. Pending invalidations are lost and logged."""
        self._outage = None
        lost = self._pending.requested
        self._pending.clear()
        if lost:
            get_logger(__name__).warning(
                "cache `%s` was closed during an outage: %d invalidations are lost, old values may be returned again",
                self._backend.name,
                lost,
            )

    # -- invalidations

    def postpone(
        self, invalidation: Invalidation, breaker: Breaker, *, is_requested: bool = True
    ) -> int | None:
        """Postpone *invalidation* and apply it in memory.

        Return its number for `settle`; None if no outage is in progress, or `is_enabled` is False. If *is_requested*,
        the application requested the invalidation, so its loss is logged.
        """
        numbers: list[int] = []

        def add() -> None:
            numbers.append(self._pending.add(invalidation, is_requested=is_requested))
            if self._outage is not None and invalidation.scope != "key":
                self._outage.clear()
            elif self._outage is not None:
                self._outage.drop(invalidation.target)

        if self.is_enabled:
            breaker.run_if_open(add)
        return numbers[0] if numbers else None

    def settle(self, invalidation: Invalidation, number: int | None) -> None:
        """Remove a postponed invalidation that the backend has carried out or refused."""
        if number is not None:
            self._pending.discard(invalidation, number)

    def repeat_invalidations(self) -> Act[None]:
        """Carry out the postponed invalidations; log the ones that the backend rejects.

        Raises:
            BaseException: The backend is unreachable again. The remaining invalidations stay postponed.
        """
        while batch := self._pending.snapshot():  # new invalidations may arrive in the meantime
            for invalidation, number in batch:
                try:
                    yield from invalidation.carry_out(self._backend)
                except BaseException as error:
                    if is_interrupt(error) or is_unreachable(error):
                        raise
                    get_logger(__name__).warning(
                        "cache `%s` refused a postponed invalidation, old values may be returned again: %s",
                        self._backend.name,
                        translate_error(self._backend, error, CacheError).message,
                    )
                self._pending.discard(invalidation, number)
