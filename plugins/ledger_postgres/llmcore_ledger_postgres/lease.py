"""The arithmetic of a budget lease. This module does no I/O.

A lease gives one process a block of a budget. The process reserves from the block without the server.

Between two reports to the server, this equation holds in nano-dollars and in characters::

    block on the server = free amount in this process + amounts of requests that the server does not have
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_values import Amount, Charge, Counter, Limit, ReserveRequest
from llmcore_ledger_postgres.encoding import Opened, get_day

__all__ = ["HOT", "ClosedRow", "Group", "Lease", "Row", "find_group_key"]

HOT = 4
"""The minimum number of requests of a group in one interval of the reports before the group gets a lease.

With fewer requests, a lease would cost more statements than it saves.
"""
_LEAST: Final = 8
"""A limit is near if `remaining budget / 16 < _LEAST * largest request`."""
_BLOCK: Final = 16
"""The minimum size of a block, as a multiple of the largest request."""
_LONGEST_PAUSE: Final = 16.0
"""The maximum pause of a group, in intervals of the reports.

A group pauses when a limit was near: it asks for no lease until the pause has ended.
"""
_PAUSE_S: Final = 0.05
"""The least time in seconds between two reports, if the second refills a block before the interval ends."""
_LOW: Final = 4
"""A block is refilled before the interval ends if less than 1 / _LOW of the block is free."""


def find_group_key(request: ReserveRequest) -> Hashable:
    """Return the key of the group of *request*. All requests of a group count against the same budgets."""
    charge = request.charge
    return (charge.provider, charge.model, charge.user, charge.tags, *request.limits)


class Row:
    """A request that was reserved from a lease and is not settled."""

    __slots__ = ("at", "is_sent", "lease", "request")

    def __init__(self, request: ReserveRequest, at: float, lease: Lease) -> None:
        self.request = request
        self.at = at
        self.lease = lease
        self.is_sent = False
        """True if a statement with this row was sent, even if the statement failed.

        The server has then possibly counted the amount of the row, so the process must not add it to the block again.
        """

    @property
    def opened(self) -> Opened:
        """The row without a settlement."""
        return Opened(self.request, get_day(self.at), self.at)


class ClosedRow(NamedTuple):
    """A row that was settled before it was sent to the server."""

    json: msgspec.Raw
    row: Row
    """The row without its settlement. It is stored if the server refuses the settled row."""


class Group:
    """The requests that count against the same budgets: their frequency, and their lease."""

    __slots__ = ("_count", "_pause", "_resumes_at", "_since", "charge", "largest", "lease", "limits")

    def __init__(self, request: ReserveRequest) -> None:
        self.charge: Charge = request.charge
        self.limits: Sequence[Limit] = tuple(request.limits)
        self.largest = Amount()
        self.lease: Lease | None = None
        self._count, self._since = 0, 0.0
        self._pause, self._resumes_at = 0.0, 0.0

    def note(self, amount: Amount, now: float, interval_s: float) -> bool:
        """Count a request of *amount*. Return whether the group should ask for a lease."""
        self.largest = Amount(*map(max, self.largest, amount))
        if now - self._since > interval_s:
            self._count, self._since = 0, now
        self._count += 1
        return self._count >= HOT and now >= self._resumes_at

    def pause(self, now: float, interval_s: float) -> None:
        """Do not ask for a lease for a while, because a limit is near."""
        self._pause = min(max(interval_s, 2 * self._pause), _LONGEST_PAUSE * interval_s)
        self._resumes_at = now + self._pause

    def resume(self) -> None:
        """Reset the next pause to its minimum, because a lease was granted."""
        self._pause = 0.0


class Lease:
    """The lease of a group in this process, for one day of the server."""

    def __init__(self, group: Group, now: float) -> None:
        self.key = f"lease-{os.urandom(8).hex()}"
        self.group = group
        self.at: float | None = None
        """The time at which the server granted the lease, in seconds since 1970 on the server's clock; None before the
        first answer."""
        self.number = 0
        """The number of the last report that the server has answered."""
        self.block = Amount()
        """The amount that the server has reserved for this lease, by its last answer."""
        self.free = Amount()
        self.is_open = False
        """True if requests can be reserved from the free amount, until `valid_until`."""
        self.is_closing = False
        self.valid_until = 0.0
        """The time until which the lease is used, in seconds on the clock of `Leases`.

        Other processes settle the lease some time later, unless a report extends it before.
        """
        self.counters: Sequence[Counter] = ()
        """The counters in the last answer of the server."""
        self.fresh: Sequence[Counter] = ()
        """The counters of the last answer, unless a settlement has returned them already. The host checks returned
        counters for alerts, so each is returned once."""
        self.in_flight = 0
        """The number of requests that are not settled."""
        self.unsent: dict[str, Row] = {}
        """Requests in flight whose rows the server has not confirmed."""
        self.closed: list[ClosedRow] = []
        """Settled rows that the server must insert. They stay in the list until the server has confirmed
        them."""
        self.settlements: list[dict[str, Any]] = []
        """Settlements of rows that the server got as open rows. They stay in the list until the server has
        confirmed them."""
        self._reported_at = now
        self._used = Amount()
        self._missed = Amount()
        self._size = Amount()

    def take(self, request: ReserveRequest, now: float, at: Callable[[], float]) -> Row | None:
        """Reserve the maximum of *request* from the block.

        Return None if the block is too small, or the lease has ended.
        """
        amount = request.amount
        if not self.is_open or now >= self.valid_until:
            return None
        if amount.nanos > self.free.nanos or amount.characters > self.free.characters:
            self._missed = _add(self._missed, amount)
            return None
        self.free = _subtract(self.free, amount)
        self._used = _add(self._used, amount)
        row = self.unsent[request.key] = Row(request, max(at(), self.at or 0.0), self)
        self.in_flight += 1
        return row

    def give_back(self, row: Row, spent: Amount) -> None:
        """Add the unspent part of a settled request to the free amount. The row of the request must not have been sent."""
        del self.unsent[row.request.key]
        rest = _subtract(row.request.amount, spent)
        self.free = Amount(*(max(0, each) for each in _add(self.free, rest)))
        self._used = _subtract(self._used, rest)

    @property
    def is_current(self) -> bool:
        """True until the block was given back. Afterwards, the lease only has to report its rows and settlements."""
        return self.group.lease is self

    def is_low(self, now: float, interval_s: float) -> bool:
        """Return whether the block should be refilled before the interval ends."""
        if not self.is_open or now - self._reported_at < min(_PAUSE_S, interval_s / 16):
            return False
        free, size = self.free, self._size
        return any(self._missed) or any(left * _LOW < whole for left, whole in zip(free, size, strict=True))

    def is_idle(self, now: float, interval_s: float) -> bool:
        """Return whether the lease has no rows and has had no request for more than half of an interval."""
        is_used = any(self._used) or any(self._missed) or self.closed or self.unsent
        return self.is_open and not is_used and now - self._reported_at > interval_s / 2

    @property
    def has_report(self) -> bool:
        """True if a report is due."""
        return self.is_current or bool(self.unsent or self.closed or self.settlements)

    @property
    def is_finished(self) -> bool:
        """True if the block was given back, and all requests of the lease are settled and reported."""
        return not (self.has_report or self.in_flight)

    def find_addition(self, now: float, interval_s: float) -> Amount:
        """Return the amount by which the block must grow, so that it lasts for about two intervals of the reports."""
        elapsed = max(now - self._reported_at, interval_s / 8)
        sizes = []
        for used, missed, largest, before, free in zip(
            self._used, self._missed, self.group.largest, self._size, self.free, strict=True
        ):
            wanted = int(2 * (max(0, used) + missed) * interval_s / elapsed)
            sizes.append((max(wanted, _BLOCK * largest, before // 2), free))
        return Amount(*(max(0, size - free) for size, free in sizes))

    @property
    def least(self) -> Amount:
        """A limit is near if a sixteenth of the remaining budget is less than this amount."""
        return Amount(*(_LEAST * each for each in self.group.largest))

    def report(self, now: float) -> Amount:
        """Begin a report: mark the rows in flight as sent. Return the free amount to report."""
        for row in self.unsent.values():
            row.is_sent = True
        self._reported_at = now
        self._used = self._missed = Amount()
        return self.free

    def change(self, reported: Amount, block: Amount) -> None:
        """Apply the answer to a report of the free amount *reported*: *block* is the new block on the server."""
        self.free = Amount(*(max(0, each) for each in _add(self.free, _subtract(block, reported))))
        self.block = self._size = block

    def make_row(self, owner: str) -> dict[str, Any]:
        """Return the row of the lease as an item of the database function `restate`; see `encoding`."""
        charge = self.group.charge
        row = LedgerRow(
            at=self.at or 0.0,
            attempt=self.number,
            state="open",
            count=0,
            kind="lease",
            provider=charge.provider,
            model=charge.model,
            reserved=self.block.nanos,
            characters=self.block.characters,
            user=charge.user,
            tags=charge.tags,
            owner=owner,
        )
        return {name: getattr(row, name) for name in LedgerRow.__struct_fields__} | {"key": self.key}


def _add(first: Amount, second: Amount) -> Amount:
    return Amount(first[0] + second[0], first[1] + second[1])


def _subtract(first: Amount, second: Amount) -> Amount:
    return Amount(first[0] - second[0], first[1] - second[1])
