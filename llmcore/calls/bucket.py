"""A token bucket (GCRA, the generic cell rate algorithm) with refunds."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

__all__ = ["Bucket"]

_GRAIN: Final = 1 / 64
"""If two entries of `Bucket._debts` differ by less than this fraction of the burst, only the lower entry is stored.

A refund may therefore be too low by up to this fraction of the burst.
"""


class Bucket:
    """A bucket of units that refills at a steady rate. The caller holds the lock and passes the current time.

    In any window of w seconds, callers take at most `rate * w` units plus the burst. A request that is larger than
    the burst waits for a full bucket and leaves the bucket in debt. In a window with such a request, callers take at
    most `rate * w` units plus the units of the request.
    """

    __slots__ = (
        "_alone_since",
        "_debts",
        "_taken",
        "_tickets",
        "ahead",
        "burst_s",
        "full_at",
        "interval",
        "of_tokens",
    )

    def __init__(
        self, interval: float, burst_s: float, *, of_tokens: bool = False, full_at: float = float("-inf")
    ) -> None:
        self.of_tokens = of_tokens
        """True if the units are tokens; otherwise they are requests."""
        self.interval = interval
        """Seconds until one unit is refilled."""
        self.burst_s = burst_s
        """The seconds in which an empty bucket becomes full."""
        self.full_at = full_at
        """The time at which the bucket will be full again."""
        self.ahead = 0.0
        """The number of units that waiting requests will take."""
        self._taken = 0
        self._alone_since = 0
        """The ticket of the last `take` that found the bucket full. Older tickets get no refund."""
        self._tickets: list[int] = []
        self._debts: list[float] = []
        """Debts in seconds until the bucket is full, in ascending order.

        `_debts[i]` is the lowest debt found by the calls of `take` with a ticket greater than
        `_tickets[i - 1]` and at most `_tickets[i]`.
        """

    def find_ready_time(self, units: float) -> float:
        """Return the time at which *units* become available. The time may be in the past."""
        cost = units * self.interval
        return self.full_at if cost >= self.burst_s else self.full_at + cost - self.burst_s

    def find_ready_time_behind(self, units: float, now: float) -> float:
        """Return the time at which *units* become available, if all waiting requests go first."""
        ready = self.find_ready_time(units)
        return (
            ready if not self.ahead else max(ready, ready - self.full_at + now) + self.ahead * self.interval
        )

    def take(self, units: float, now: float) -> int:
        """Take *units*, even if the bucket has fewer; return a ticket for `give_back`."""
        self._taken = ticket = self._taken + 1
        debt, debts = self.full_at - now, self._debts
        if debt <= 0.0:
            self.full_at = now + units * self.interval
            self._alone_since = ticket
            if debts:
                self._tickets.clear()
                debts.clear()
            return ticket
        self.full_at += units * self.interval
        while debts and debts[-1] >= debt:
            debts.pop()
            self._tickets.pop()
        if debts and debt - debts[-1] < self.burst_s * _GRAIN:
            self._tickets[-1] = ticket
        else:
            debts.append(debt)
            self._tickets.append(ticket)
        return ticket

    def give_back(self, ticket: int, units: float) -> None:
        """Refund *units* of *ticket*, as if `take` had never taken them.

        The refund is at most the lowest debt that a later `take` found. If *ticket* had taken fewer units, the bucket
        would have been full at that moment, and a full bucket does not refill.
        """
        if ticket < self._alone_since:
            return
        amount = units * self.interval
        if ticket == self._taken:
            self.full_at -= amount
            return
        after = bisect_right(self._tickets, ticket)
        debts = self._debts
        if after < len(debts):
            amount = min(amount, debts[after])
            for index in range(after, len(debts)):
                debts[index] -= amount
            lower = after
            while lower and debts[lower - 1] >= debts[after]:
                lower -= 1
            del debts[lower:after], self._tickets[lower:after]
        self.full_at -= amount

    def change_rate(self, interval: float, burst_s: float, full_at: float) -> None:
        """Change the rate; units that were taken before can still be refunded."""
        self._debts = [debt * interval / self.interval for debt in self._debts]
        self.interval, self.burst_s, self.full_at = interval, burst_s, full_at
