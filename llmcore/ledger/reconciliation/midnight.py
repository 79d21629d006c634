"""Requests around midnight, which the vendor and the ledger may count on different days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from llmcore.ledger.reconciliation.booked_requests import BookedRequests
from llmcore.ledger.reconciliation.causes import Causes

__all__ = ["move_shifted"]

_DAY: Final = timedelta(days=1)

Key = tuple[date, str, str]
"""Day, model and tier."""


def move_shifted(
    booked: Mapping[Key, BookedRequests], causes: Mapping[Key, Causes], before: Mapping[Key, BookedRequests]
) -> None:
    """Set the cause `shifted` for amounts that are booked on one day and billed on the day before or after.

    This cause gets the amounts of two kinds of requests only: requests that were answered close to midnight, and requests
    of a vendor's queue, which are booked when they are sent and billed up to a day later. Other amounts keep their
    causes, so that the usage of other clients remains visible. *before* has the requests of the day before the period.
    """
    for (day, model, tier), own in before.items():
        found = causes.get((day + _DAY, model, tier))
        if found is not None:
            amount = min(max(found["unbooked"], Decimal(0)), own.near_end)
            found["unbooked"] -= amount
            found["shifted"] += amount
    for (day, model, tier), found in causes.items():
        own = booked[day, model, tier]
        for neighbour, most in ((day + _DAY, own.near_end), (day - _DAY, own.near_start)):
            amount = min(-found["not_billed"], most)
            if amount <= 0:
                continue
            found["not_billed"] += amount
            found["shifted"] -= amount
            other = causes.get((neighbour, model, tier))
            if other is not None:
                counterpart = min(max(other["unbooked"], Decimal(0)), amount)
                other["unbooked"] -= counterpart
                other["shifted"] += counterpart
