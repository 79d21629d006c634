"""Pass the events of all calls to the totals, the hit counts of the ledger, and the configured observers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

import msgspec

from llmcore.interrupts import must_propagate
from llmcore.ledger.hits import HitKey, Hits
from llmcore.ledger.meter import Meter
from llmcore.log import get_logger
from llmcore.types import CallEvent, CallStart

__all__ = ["Events", "Starts"]

Starts: TypeAlias = Sequence[tuple[object, Any]]
"""Observers, each with the result of its `on_start` for one call."""


class Events:
    """Passes events on. An observer that raises is logged once and then disabled."""

    def __init__(self, meter: Meter, hits: Hits, observers: Sequence[Any] = ()) -> None:
        self._meter = meter
        self._hits = hits
        self._observers = list(observers)

    def record_start(self, start: Callable[[], CallStart]) -> Starts:
        """Report the start of a call to the observers. *start* makes the event, but only if an observer has `on_start`.

        Returns:
            The argument *starts* of `record_call` or `record_hit`. One of the two must be called at the end of the call.
        """
        starting = [each for each in self._observers if hasattr(each, "on_start")]
        if not starting:
            return ()
        event = start()
        return [(each, self._notify(each, each.on_start, event)) for each in starting]

    def collect_headers(self, starts: Starts) -> tuple[tuple[str, str], ...]:
        """Return the HTTP headers that the observers add to the requests of a call."""
        found: dict[str, str] = {}
        for each, value in starts:
            if hasattr(each, "get_headers"):
                read = partial(_read_headers, each)
                found.update(self._notify(each, read, value) or {})
        return tuple(found.items())

    def record_call(self, event: CallEvent, *, asked: bool = True, starts: Starts = ()) -> None:
        """Add *event* to the totals and pass it to the observers.

        Args:
            event: The call that has ended.
            asked: False for a call that was rejected before any request. Such a call does not count as a failure.
            starts: The result of `record_start` for the call.
        """
        self._meter.record_call(event, asked=asked)
        self._pass_on(event, starts)

    def record_lost(self, cost: Decimal | None) -> None:
        """Add the maximum cost of a request with an unknown outcome to the totals."""
        self._meter.record_lost(cost)

    def record_hit(
        self, key: HitKey, saved: Decimal | None, event: Callable[[], CallEvent], starts: Starts = ()
    ) -> None:
        """Count an answer from the cache; *event* is built only if there are observers."""
        self._meter.record_hit(saved)
        self._hits.record_hit(key, saved)
        if self._observers:
            self._pass_on(event(), starts)

    def _pass_on(self, event: CallEvent, starts: Starts) -> None:
        for observer in tuple(self._observers):
            value = next((value for each, value in starts if each is observer), None)
            own = event if value is None else msgspec.structs.replace(event, start=value)
            if own.request is not None and not getattr(observer, "receives_content", False):
                own = msgspec.structs.replace(own, request=None, reply=None)
            self._notify(observer, observer.on_call, own)

    def _notify(self, observer: Any, method: Callable[[Any], Any], event: Any) -> Any:
        """Call *method* of *observer* and return its result. If it raises, disable the observer."""
        try:
            return method(event)
        except BaseException as error:
            if must_propagate(error):
                raise
            if observer in self._observers:
                self._observers.remove(observer)
            name, log = type(observer).__qualname__, get_logger(__name__)
            log.warning("observer %s raised %s and was disabled", name, type(error).__name__)
            return None


def _read_headers(observer: Any, start: Any) -> dict[str, str]:
    """Return the headers of *observer*.

    Raises:
        TypeError: A name or a value is not text. A provider would fail on such a header later.
    """
    headers = dict(observer.get_headers(start))
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a header must be a text, got {name!r}: {type(value).__name__}")
    return headers
