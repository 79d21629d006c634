"""Reservations that outlive their process: a later process settles the requests of a vendor's batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmcore.ledger.reservation import Reservation
from llmcore.support.ledger_owners import make_key
from llmcore.support.ledger_rows import LedgerRow, RowQuery
from llmcore.support.ledger_values import Charge, ReserveRequest

if TYPE_CHECKING:
    from llmcore.ledger.spending import Spending

__all__ = ["find_deferred", "find_settled", "make_request", "make_unbooked"]


def find_deferred(spending: Spending, name: str, since: float) -> dict[str, Reservation]:
    """Return the reservations of the run *name* that are still open: call id -> reservation.

    Reservations from before *since*, in seconds since 1970, are left out.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    rows: list[LedgerRow] = spending.read("iterate_rows", RowQuery(since=since, states=("open",)))
    ending = f":{name}"
    return {row.call: _make_reservation(row) for row in rows if (row.owner or "").endswith(ending)}


def find_settled(spending: Spending, tag: str, since: float) -> set[str]:
    """Return the call ids of the settled rows with *tag*. Rows from before *since* are left out.

    Rows that still wait in the file next to the ledger are imported first; see `Spool`. *since* is in seconds since 1970.

    Raises:
        LedgerError: The ledger cannot be read or written.
    """
    spending.prepare()
    query = RowQuery(since=since, filters={"tag": tag}, states=("done", "failed", "lost"))
    return {row.call for row in spending.read("iterate_rows", query)}


def make_unbooked(charge: Charge, at: float) -> Reservation:
    """Return the reservation of a request that was sent at the time *at*, although the ledger has no row for it.

    Settling the reservation writes the row of the request to the file next to the ledger; see `Spool`.
    """
    found = Reservation(charge, at)
    found.is_unbooked = True
    return found


def make_request(row: LedgerRow) -> ReserveRequest:
    """Return the `ReserveRequest` that opened *row*. The owner of *row* is the run of a batch, not a process."""
    owner = row.owner or ""
    charge = Charge(
        kind=row.kind,
        provider=row.provider,
        model=row.model,
        call=row.call,
        attempt=row.attempt,
        user=row.user,
        tags=row.tags,
        tier=row.tier_asked,
        characters=row.characters,
        owner=owner,
    )
    return ReserveRequest(
        key=make_key(owner, row.call), charge=charge, at=row.at, maximum=row.reserved, limits=()
    )


def _make_reservation(row: LedgerRow) -> Reservation:
    request = make_request(row)
    found = Reservation(request.charge, row.at)
    found.request = request
    found.row, found.is_open = row.id, True
    return found
