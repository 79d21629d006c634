"""Simulate callers that wait for rate limits, with a simulated clock: no test waits in real time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from llmcore.calls.limits import Limits, Permit
from llmcore.calls.steps import Step, sleep
from llmcore.config import LimitRule
from llmcore.errors import RateLimited

MODEL = ("openai", "gpt-6-sol")


@dataclass
class Sent:
    """One call that was given its turn."""

    caller: int
    at: float
    booked: int
    used: int
    model: str = MODEL[1]


@dataclass
class World:
    """Drives callers as the blocking driver does, each in its own thread, but for the clock."""

    rules: dict[str, LimitRule]
    late_s: float = 0.0
    """By how much a sleeper may wake up late, by chance."""
    now: float = 1000.0
    sent: list[Sent] = field(default_factory=list)
    refused: list[RateLimited] = field(default_factory=list)
    wakes: int = 0
    """How often a waiter woke."""
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.limits = Limits(self.rules, clock=lambda: self.now)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._chance = random.Random(7)  # noqa: S311 - the same at every run
        self.callers: list[Generator[Step, Any, None]] = []

    def call(
        self,
        *,
        after: float = 0.0,
        tokens: int = 0,
        used: int | None = None,
        lasts: float = 0.0,
        timeout: float = float("inf"),
        model: str = MODEL[1],
    ) -> int:
        """Let a caller come *after* so many seconds; return its number."""
        number = len(self.callers)
        sent = Sent(number, self.now, tokens, tokens if used is None else used, model)
        caller = self._caller(sent, lasts, self.now + after + timeout)
        self.callers.append(caller)
        self._at(self.now + after, lambda: self._resume(caller))
        return number

    def cancel(self, number: int, *, after: float) -> None:
        """Let a caller leave, wherever it is."""
        self._at(self.now + after, self.callers[number].close)

    def do(self, what: Callable[[], None], *, after: float) -> None:
        """Do something later."""
        self._at(self.now + after, what)

    def run(self) -> World:
        """Advance the clock until no caller waits."""
        while self._events:
            at, _, event = heapq.heappop(self._events)
            self.now = max(self.now, at)
            event()
        return self

    def _caller(self, sent: Sent, lasts: float, gives_up: float) -> Generator[Step, Any, None]:
        try:
            permit: Permit = yield from self.limits.acquire(
                MODEL[0], sent.model, sent.booked, lambda: gives_up - self.now
            )
        except RateLimited as error:
            self.refused.append(error)
            return
        sent.at = self.now
        self.sent.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if lasts:
                yield sleep(lasts)
        finally:
            self.in_flight -= 1
            self.limits.release(permit, sent.used)

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), event))

    def _resume(self, caller: Generator[Step, Any, None]) -> None:
        try:
            step = next(caller)
        except StopIteration:
            return
        permit, woken = getattr(step.blocking, "__self__", None), False

        def wake() -> None:
            nonlocal woken
            if not woken:
                woken = True
                self.wakes += 1
                self._resume(caller)

        seconds = step.args[0] + self._chance.random() * self.late_s
        if isinstance(permit, Permit) and not permit._set_wake(lambda: self._at(self.now, wake)):
            seconds = 0.0
        if seconds < float("inf"):
            self._at(self.now + seconds, wake)


def check_windows(sent: list[tuple[float, float]], per_s: float, burst: float) -> None:
    """Assert that no window sees more than its rate and the burst."""
    sent = sorted(sent)
    for first in range(len(sent)):
        total = 0.0
        for at, units in sent[first:]:
            total += units
            allowed = per_s * (at - sent[first][0]) + burst
            assert total <= allowed * (1 + 1e-9) + 1e-6, (
                f"{total} in {at - sent[first][0]} s, {allowed} allowed"
            )
