"""Offer the observer `otel`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_observer_otel.options import OtelOptions

if TYPE_CHECKING:
    from llmcore_observer_otel.observer import OtelObserver

__all__ = ["LLMCORE_API", "OtelOptions"]

LLMCORE_API = 1


def _create(options: OtelOptions) -> OtelObserver:
    from llmcore_observer_otel.observer import OtelObserver

    return OtelObserver(options)


@hookimpl
def llmcore_observers() -> Iterable[Provider[OtelOptions, OtelObserver]]:
    """Offer `otel`."""
    yield Provider(name="otel", options=OtelOptions, create=_create)
