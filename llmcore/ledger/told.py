"""Who is told of a call that has ended: the meter, the ledger's hits, and the observers of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from llmcore.ledger.hits import Hits, Whose
from llmcore.ledger.meter import Meter
from llmcore.log import logger
from llmcore.types import CallEvent

__all__ = ["Told"]


class Told:
    """Passes events on. An observer that raises is reported once and ignored from then on."""

    def __init__(self, meter: Meter, hits: Hits, observers: Sequence[Any] = ()) -> None:
        self._meter = meter
        self._hits = hits
        self._observers = list(observers)

    def hear(self, event: CallEvent) -> None:
        """Book *event*, which a backend answered or failed, and tell everybody."""
        self._meter.book(event)
        self._tell(event)

    def lost(self, cost: Decimal | None) -> None:
        """Book what a request can have cost whose end nobody told."""
        self._meter.lost(cost)

    def hit(self, whose: Whose, saved: Decimal | None, event: Callable[[], CallEvent]) -> None:
        """Book an answer from the cache; *event* is made only where somebody hears it."""
        self._meter.hit(saved)
        self._hits.hit(whose, saved)
        if self._observers:
            self._tell(event())

    def _tell(self, event: CallEvent) -> None:
        for observer in tuple(self._observers):
            try:
                observer.on_call(event)
            except Exception as error:  # noqa: BLE001 - a stranger's code, which must not fail the call
                self._observers.remove(observer)
                name, log = type(observer).__qualname__, logger(__name__)
                log.warning("observer %s raised %s and is told no more", name, type(error).__name__)
