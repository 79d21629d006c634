"""Helpers for the tests of single-flight: upstreams that a test releases, and ways to wait."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

from llmcore.calls.bridges import END, PieceStream
from llmcore.calls.single_flight import Flights
from llmcore.calls.steps import Step
from tests.kits.waiting import await_until


class Upstream:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self, *outcomes: Any) -> None:
        self.asked = 0
        self.open = threading.Event()
        self.reached = threading.Event()
        self.outcomes = list(outcomes)
        self.closed = 0

    def _outcome(self) -> Any:
        outcome = self.outcomes.pop(0) if self.outcomes else f"answer {self.asked}"
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def blocking(self) -> Any:
        self.asked += 1
        self.reached.set()
        assert self.open.wait(60)
        return self._outcome()

    async def awaiting(self) -> Any:
        self.asked += 1
        self.reached.set()
        await await_until(self.open.is_set)
        return self._outcome()

    def work(self) -> Generator[Any, Any, Any]:
        try:
            return (yield Step(self.blocking, self.awaiting))
        finally:
            self.closed += 1


def count_waiters(flights: Flights) -> int:
    return sum(len(flight.callers) for flight in flights._flights.values())


class Stream(Upstream):
    """Gives five pieces, each when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)

    def pieces(self) -> Generator[str, None, None]:
        self.asked += 1
        for number in range(5):
            self.reached.set()
            assert self.gate.acquire(timeout=20)
            yield str(number)

    def work(self) -> Generator[Any, Any, Any]:
        source = PieceStream(self, "pieces")
        try:
            while (piece := (yield source.next)) is not END:
                yield piece
        finally:
            self.closed += 1
            yield source.close
        return "whole"


class AsyncStream(Stream):
    pieces = None  # type: ignore[assignment] # this one has the other variant only

    async def apieces(self) -> AsyncIterator[str]:
        self.asked += 1
        for number in range(5):
            self.reached.set()
            await await_until(lambda: self.gate.acquire(blocking=False))
            yield str(number)
