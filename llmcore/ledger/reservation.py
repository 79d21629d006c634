"""A request's reservation in this process: the row in the ledger, and whether the request was sent."""

from __future__ import annotations

import os
from typing import Any

from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_values import Charge, Outcome, Reserved, ReserveRequest, Settlement
from llmcore.support.money import from_nano, to_nano
from llmcore.support.sending import Sending

__all__ = ["Reservation", "make_cancelled", "make_local_row"]


class Reservation:
    """The reservation of a request."""

    __slots__ = ("at", "charge", "is_open", "is_unbooked", "pid", "request", "row", "sending")

    def __init__(self, charge: Charge, at: float) -> None:
        self.charge = charge
        self.at = at
        """The time of the row, in seconds since 1970."""
        self.request: ReserveRequest | None = None
        """The last request that was sent to the ledger; None before the first."""
        self.row: Any = None
        """See `Reserved.row`."""
        self.is_open = False
        """True if the ledger has an open row for the request."""
        self.is_unbooked = False
        """True if the ledger was busy. The request is then booked in the file next to the ledger."""
        self.sending = Sending()
        self.pid = os.getpid()
        """The process that made the request. A forked child has a copy of the reservation but must not settle it."""

    @property
    def reserved(self) -> int:
        """The reserved amount in nano-dollars."""
        return self.request.maximum if self.is_open and self.request is not None else 0

    def open(self, answer: Reserved) -> None:
        """Record the row that the ledger has opened, and its time."""
        self.row, self.at, self.is_open = answer.row, answer.at, True

    def make_settlement(self, outcome: Outcome) -> Settlement:
        """Return the settlement of the row with *outcome*."""
        assert self.request is not None  # noqa: S101 - `Reserver.open_row` has set it
        return Settlement(self.request, self.row, self.at, outcome)


def make_local_row(reservation: Reservation, outcome: Outcome) -> LedgerRow:
    """Return the row of a request that could not be booked in the ledger.

    The caller appends the row to the file next to the ledger.
    """
    charge, usage = reservation.charge, outcome.usage
    return LedgerRow(
        at=reservation.at,
        call=charge.call,
        attempt=charge.attempt,
        state="done" if outcome.error is None else "failed",
        kind=charge.kind,
        provider=charge.provider,
        model=charge.model,
        served=outcome.model or None,
        cost=None if outcome.cost is None else to_nano(outcome.cost),
        cost_source=outcome.cost_source,
        uncertain=outcome.uncertain,
        estimated=usage.estimated,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_12h_tokens=usage.cache_write_12h_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        audio_input_tokens=usage.audio_input_tokens,
        audio_output_tokens=usage.audio_output_tokens,
        image_input_tokens=usage.image_input_tokens,
        image_output_tokens=usage.image_output_tokens,
        characters=outcome.characters,
        latency_ms=outcome.latency_s * 1000,
        first_token_ms=None if outcome.first_token_s is None else outcome.first_token_s * 1000,
        tier_asked=charge.tier,
        tier=outcome.tier,
        request_id=outcome.request_id,
        error=outcome.error,
        user=charge.user,
        tags=charge.tags,
    )


def make_cancelled(reservation: Reservation) -> Outcome:
    """Withdraw the request of a call that can no longer end, because Python is exiting.

    Return the outcome: the maximum cost, or `requested=False` if the request was not sent.
    """
    unsent = reservation.sending.withdraw()
    return Outcome(
        cost=from_nano(reservation.reserved) if reservation.reserved else None,
        uncertain=not unsent,
        requested=not unsent,
        characters=reservation.charge.characters,
        error="cancelled",
    )
