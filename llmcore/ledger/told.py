"""Who is told of a call that has ended: the meter, and the observers of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmcore.ledger.meter import Meter
from llmcore.log import logger
from llmcore.types import CallEvent

__all__ = ["Told"]


class Told:
    """Passes events on. An observer that raises is reported once and ignored from then on."""

    def __init__(self, meter: Meter, observers: Sequence[Any] = ()) -> None:
        self._meter = meter
        self._observers = list(observers)

    def hear(self, event: CallEvent) -> None:
        """Book *event* and tell everybody."""
        self._meter.book(event)
        for observer in tuple(self._observers):
            try:
                observer.on_call(event)
            except Exception as error:  # noqa: BLE001 - a stranger's code, which must not fail the call
                self._observers.remove(observer)
                name, log = type(observer).__qualname__, logger(__name__)
                log.warning("observer %s raised %s and is told no more", name, type(error).__name__)
