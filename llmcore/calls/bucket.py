"""One rate, held by the generic cell rate algorithm: what is taken flows back steadily, whatever becomes of the takers."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

__all__ = ["Bucket"]

_GRAIN: Final = 1 / 64
"""Debts that differ by less of the burst are remembered as the lesser one: a refund may come out so much too small."""


class Bucket:
    """Room for a burst of units, which flows back at a steady rate. Its user holds the lock and tells the time.

    In no window of w seconds is more taken than `rate * w` and the burst; than `rate * w` and the largest single taking,
    where that is more than the burst: it waits until the bucket is full, and leaves it in debt.
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
        """Whether a unit is a token, else a request."""
        self.interval = interval
        """Seconds in which one unit flows back."""
        self.burst_s = burst_s
        """The room, in seconds of flowing back."""
        self.full_at = full_at
        """When all that was taken will have flowed back."""
        self.ahead = 0.0
        """Units that wait to be taken."""
        self._taken = 0
        self._alone_since = 0
        """The ticket of the last taking that found the bucket full."""
        self._tickets: list[int] = []
        self._debts: list[float] = []
        """The least seconds to full that takings found: those after the ticket before, up to this one. Rising."""

    def ready(self, units: float) -> float:
        """Return when *units* can be taken; it may have passed."""
        cost = units * self.interval
        return self.full_at if cost >= self.burst_s else self.full_at + cost - self.burst_s

    def ready_behind(self, units: float, now: float) -> float:
        """Return when *units* can be taken after those that wait."""
        ready = self.ready(units)
        return (
            ready if not self.ahead else max(ready, ready - self.full_at + now) + self.ahead * self.interval
        )

    def take(self, units: float, now: float) -> int:
        """Take *units*, whether or not they are there; return a ticket with which some can be given back."""
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
        """Undo a part of what was taken with *ticket*, as if it had never been taken.

        What would have flowed over since is not gained: of what a later taking found missing, at the least, no more than
        that comes back.
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
        """Hold another rate from now on; what was taken can still be given back."""
        self._debts = [debt * interval / self.interval for debt in self._debts]
        self.interval, self.burst_s, self.full_at = interval, burst_s, full_at
