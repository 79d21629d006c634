"""The arithmetic of a budget lease: a block from which one process reserves without the server. No I/O is done here.

Between two reports to the server, this equation holds in nano-dollars and in characters::

    the block on the server = what is free here + what the requests hold that the server has not seen
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from llmcore.support.ledger_rows import LedgerRow
from llmcore.support.ledger_values import Amount, Charge, Counter, Limit, ReserveRequest

__all__ = ["HOT", "ClosedRow", "Group", "Lease", "Row", "find_group_key"]

HOT = 4
"""A lease is worth its statements from this number of requests in one interval."""
_LEAST: Final = 8
"""Near a limit: a sixteenth of what is left is less than this number of the largest request."""
_BLOCK: Final = 16
"""The size of the smallest block, in largest requests."""
_LONGEST_PAUSE: Final = 16.0
"""How many intervals a group waits at most before it asks for a lease again."""
_PAUSE_S: Final = 0.05
"""Seconds between two early reports."""
_LOW: Final = 4
"""A block is filled up early when less than this part of it is free."""


def find_group_key(request: ReserveRequest) -> Hashable:
    """Return the identity of the group: the same budgets count and limit all requests of a group."""
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
        """Whether a statement has carried the row, perhaps in vain. The row then holds its amount, and the block no longer does."""


class ClosedRow(NamedTuple):
    """A row that is settled before the server has seen it."""

    json: msgspec.Raw
    opened: dict[str, Any]
    """The row without the settlement, which is stored if the server refuses the settled one."""


class Group:
    """Requests that the same budgets count and limit, and how many of them come."""

    __slots__ = ("_count", "_pause", "_resumes_at", "_since", "charge", "largest", "lease", "limits")

    def __init__(self, request: ReserveRequest) -> None:
        self.charge: Charge = request.charge
        self.limits: Sequence[Limit] = tuple(request.limits)
        self.largest = Amount()
        self.lease: Lease | None = None
        self._count, self._since = 0, 0.0
        self._pause, self._resumes_at = 0.0, 0.0

    def note(self, amount: Amount, now: float, interval_s: float) -> bool:
        """Note a request. Return whether a lease is worth asking for."""
        self.largest = Amount(*map(max, self.largest, amount))
        if now - self._since > interval_s:
            self._count, self._since = 0, now
        self._count += 1
        return self._count >= HOT and now >= self._resumes_at

    def pause(self, now: float, interval_s: float) -> None:
        """Ask for no lease for a while: a limit is near."""
        self._pause = min(max(interval_s, 2 * self._pause), _LONGEST_PAUSE * interval_s)
        self._resumes_at = now + self._pause

    def resume(self) -> None:
        """Forget the pauses, because a lease was granted."""
        self._pause = 0.0


class Lease:
    """The lease of a group in this process, for one day of the server."""

    def __init__(self, group: Group, now: float) -> None:
        self.key = f"lease-{os.urandom(8).hex()}"
        self.group = group
        self.at: float | None = None
        """When the server granted the lease, in seconds since 1970 on its clock. None: it was not asked yet, or has not answered."""
        self.number = 0
        """The number of the last statement that the server has answered."""
        self.block = Amount()
        """The amount that the server has reserved for this lease, by its last answer."""
        self.free = Amount()
        self.is_open = False
        """Whether requests may be reserved from the free amount, until `valid_until`."""
        self.is_closing = False
        self.valid_until = 0.0
        """On the clock of `Leases`. Later, other processes may have settled the lease."""
        self.counters: Sequence[Counter] = ()
        """The counters by the last answer of the server."""
        self.fresh: Sequence[Counter] = ()
        """The same, until a settlement has returned them: alerts are looked for once."""
        self.in_flight = 0
        """The number of requests that are not settled."""
        self.unsent: dict[str, Row] = {}
        """Requests in flight whose rows the server has not confirmed."""
        self.closed: list[ClosedRow] = []
        """Rows to insert, until the server has confirmed them."""
        self.settlements: list[dict[str, Any]] = []
        """Settlements of rows that a statement has carried as open, until the server has confirmed them."""
        self._reported_at = now
        self._used = Amount()
        self._missed = Amount()
        self._size = Amount()

    def take(self, request: ReserveRequest, now: float, at: Callable[[], float]) -> Row | None:
        """Reserve the maximum of *request*; None if the block is too small, or the lease has ended."""
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
        """Return what a settled request has not spent to the free amount. Its row must not be sent yet."""
        del self.unsent[row.request.key]
        rest = _subtract(row.request.amount, spent)
        self.free = Amount(*(max(0, each) for each in _add(self.free, rest)))
        self._used = _subtract(self._used, rest)

    @property
    def is_current(self) -> bool:
        """Whether the server may have a block of this lease. Otherwise only its requests remain to be reported."""
        return self.group.lease is self

    def is_low(self, now: float, interval_s: float) -> bool:
        """Return whether the block should be filled up before the interval ends."""
        if not self.is_open or now - self._reported_at < min(_PAUSE_S, interval_s / 16):
            return False
        free, size = self.free, self._size
        return any(self._missed) or any(left * _LOW < whole for left, whole in zip(free, size, strict=True))

    def is_idle(self, now: float, interval_s: float) -> bool:
        """Return whether no request came for most of an interval."""
        is_used = any(self._used) or any(self._missed) or self.closed or self.unsent
        return self.is_open and not is_used and now - self._reported_at > interval_s / 2

    @property
    def has_report(self) -> bool:
        """Whether a report is due."""
        return self.is_current or bool(self.unsent or self.closed or self.settlements)

    @property
    def is_finished(self) -> bool:
        """Whether the server has no block of this lease, and all its requests are reported."""
        return not (self.has_report or self.in_flight)

    def find_addition(self, now: float, interval_s: float) -> Amount:
        """Return the amount to ask for: a block lasts for about two intervals."""
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
        """The room below which a limit is near."""
        return Amount(*(_LEAST * each for each in self.group.largest))

    def report(self, now: float) -> Amount:
        """Begin a report: the rows in flight are sent. Return the free amount, which does not shrink until the answer."""
        for row in self.unsent.values():
            row.is_sent = True
        self._reported_at = now
        self._used = self._missed = Amount()
        return self.free

    def change(self, reported: Amount, block: Amount) -> None:
        """Take over the block that the server has after the report of the free amount *reported*."""
        self.free = Amount(*(max(0, each) for each in _add(self.free, _subtract(block, reported))))
        self.block = self._size = block

    def make_row(self, owner: str) -> dict[str, Any]:
        """Return the row of the lease, for `restate`."""
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
