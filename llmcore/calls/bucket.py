"""Token bucket (GCRA, the generic cell rate algorithm) with refunds."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

__all__ = ["Bucket"]

_GRAIN: Final = 1 / 64
"""Debts that differ by less than this part of the burst are stored as the smaller one, so a refund may be this much too low."""


class Bucket:
    """A bucket of units that refills at a steady rate. Its user holds the lock and passes the time.

    No window of w seconds sees more than `rate * w` units and the burst. A single request above the burst waits until the
    bucket is full and leaves it in debt; then the window sees at most `rate * w` and that request.
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
        """Whether a unit is a token; otherwise it is a request."""
        self.interval = interval
        """Seconds in which one unit is refilled."""
        self.burst_s = burst_s
        """The capacity, in seconds of refill."""
        self.full_at = full_at
        """When the bucket will be full again."""
        self.ahead = 0.0
        """Units that waiting requests will take."""
        self._taken = 0
        self._alone_since = 0
        """The ticket of the last `take` from a full bucket."""
        self._tickets: list[int] = []
        self._debts: list[float] = []
        """For the tickets up to each of `_tickets`, since the one before: the lowest debt, in seconds until full. Ascending."""

    def ready(self, units: float) -> float:
        """Return the time from which *units* can be taken; it may be in the past."""
        cost = units * self.interval
        return self.full_at if cost >= self.burst_s else self.full_at + cost - self.burst_s

    def ready_behind(self, units: float, now: float) -> float:
        """Return the time from which *units* can be taken, after the units that wait."""
        ready = self.ready(units)
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
        """Refund *units* of those taken with *ticket*, as if they had never been taken.

        A bucket that was full in the meantime would have lost the units. So the refund is at most the lowest debt that a later
        `take` found.
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

    def restate(self, interval: float, burst_s: float, full_at: float) -> None:
        """Change the rate; units that were taken before can still be refunded."""
        self._debts = [debt * interval / self.interval for debt in self._debts]
        self.interval, self.burst_s, self.full_at = interval, burst_s, full_at
