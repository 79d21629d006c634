"""Reserve and settle the requests of a vendor's batch in the ledger, and cache the answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from llmcore.calls.drivers import arun
from llmcore.ledger.batch_reservations import find_deferred, find_settled, make_unbooked
from llmcore.ledger.lock_timeouts import LOCK_TIMEOUT_S
from llmcore.llm.batch.queue_price import TIER, make_queue_quote
from llmcore.support.ledger_owners import make_owner
from llmcore.support.ledger_values import Charge, Outcome
from llmcore.support.money import from_nano

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from llmcore.errors import LLMCoreError
    from llmcore.ledger.reservation import Reservation
    from llmcore.llm.call import ChatCall
    from llmcore.pipeline import Services
    from llmcore.types import Reply

__all__ = ["Booking"]

_LIFETIME_S: Final = 32 * 86_400.0
"""The lifetime of a reservation, in seconds.

A request waits up to a day in the queue, and the vendor stores its result for up to 30 days after that.
"""


class Booking:
    """Books the requests of one run in the ledger, and caches their answers.

    Each request has a separate ledger row. The row is opened before the batch is created, and stays open when the
    process ends.
    """

    def __init__(self, services: Services, name: str, tag: str) -> None:
        self._services = services
        self._name = name
        self._tag = tag
        """The tag of the run's rows."""
        self._open: dict[str, Reservation] = {}

    def load(self, since: float) -> None:
        """Load the rows that earlier processes of the run opened at *since* or later and did not settle."""
        spending = self._services.spending()
        if spending.is_enabled:
            self._open = find_deferred(spending, self._name, since)

    def load_unbooked(
        self, names: Iterable[str], find_call: Callable[[str], ChatCall | None], since: float
    ) -> None:
        """Load the requests of *names* that an earlier process sent without a row, because the ledger was locked.

        Args:
            names: The ids of all unsettled requests.
            find_call: Returns the call of a request.
            since: When the run first used the queue, in seconds since 1970.
        """
        spending = self._services.spending()
        missing = [name for name in names if name not in self._open] if spending.is_enabled else []
        if not missing:
            return
        # Do not book a request that has a settled row: the earlier process booked it, but ended before it
        # stored the answer.
        settled = find_settled(spending, self._tag, since)
        for name in missing:
            call = None if name in settled else find_call(name)
            if call is not None:
                self._open[name] = make_unbooked(self._make_charge(call, name), time.time())

    @property
    def names(self) -> list[str]:
        """The ids of the requests with an open row."""
        return list(self._open)

    def has(self, name: str) -> bool:
        """Return whether a request has an open row."""
        return name in self._open and self._open[name].is_open

    async def reserve(self, call: ChatCall, name: str) -> None:
        """Reserve the maximum cost of *call* in the queue.

        Raises:
            BudgetError: A budget does not allow the maximum cost.
        """
        charge = self._make_charge(call, name)
        quote = make_queue_quote(call, self._services.prices)
        reserving = self._services.spending().reserve(charge, quote, lambda: LOCK_TIMEOUT_S, waits=False)
        reservation = await arun(reserving)
        if reservation.is_open or reservation.is_unbooked:
            self._open[name] = reservation

    async def settle(self, call: ChatCall, name: str, result: Reply) -> Reply:
        """Record and cache an answer. Return the reply with its cost."""
        services = self._services
        call.group, call.started, call.started_at = name, time.monotonic(), time.time()
        call.quote = make_queue_quote(call, services.prices)
        settled, outcome = call.kind.settle(
            call, services, msgspec.structs.replace(result, service_tier=TIER)
        )
        if outcome.uncertain and name in self._open:
            outcome = msgspec.structs.replace(outcome, cost=self._get_maximum(name))
        await self._close(name, outcome)
        reply: Reply = call.kind.finish(call, services, settled)
        if call.key is not None and call.kind.is_cacheable(call, reply):
            for key, data, ttl in call.kind.make_entries(call, reply, 0.0):
                kept = services.cache.keep(
                    key, data, call.ttl if ttl is None else ttl, replaces=not call.reads
                )
                await arun(kept)
        return reply

    async def refuse(self, name: str, error: LLMCoreError) -> None:
        """Record, at no cost, a request that failed with *error*: the vendor rejected it or did not execute it."""
        text = f"{error.code} {type(error).__name__}"
        await self._close(name, Outcome(cost=from_nano(0), error=text, tier=TIER))

    async def lose(self, name: str) -> None:
        """Record a request with an unknown outcome at its maximum cost."""
        cost = self._get_maximum(name)
        if name in self._open:
            self._services.events.record_lost(cost)
        await self._close(name, Outcome(cost=cost, uncertain=True, error="lost", tier=TIER))

    def _get_maximum(self, name: str) -> Decimal | None:
        """Return the maximum cost of a request; None if it is unknown."""
        reservation = self._open.get(name)
        return from_nano(reservation.reserved) if reservation is not None and reservation.reserved else None

    async def release(self, name: str) -> None:
        """Release the reservation of a request that was not executed."""
        await self._close(name, Outcome(requested=False, error="cancelled"))

    async def _close(self, name: str, outcome: Outcome) -> None:
        reservation = self._open.pop(name, None)
        if reservation is not None:
            await arun(self._services.spending().settle(reservation, outcome))

    def _make_charge(self, call: ChatCall, name: str) -> Charge:
        owner = make_owner(self._name, time.time() + _LIFETIME_S)
        return Charge(
            kind=call.kind.name,
            provider=call.backend.name,
            model=call.request.model,
            call=name,
            user=call.user,
            tags=call.tags,
            tier=TIER,
            owner=owner,
        )
