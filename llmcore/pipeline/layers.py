"""The list of layers, imported by the first request that the cache does not answer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from llmcore.pipeline.budget import budget
from llmcore.pipeline.cache import keep, look_up
from llmcore.pipeline.call import Call, Layer, Services
from llmcore.pipeline.lease import lease
from llmcore.pipeline.rate_limit import rate_limit
from llmcore.pipeline.report import report
from llmcore.pipeline.retry import retry
from llmcore.pipeline.send import send
from llmcore.pipeline.single_flight import single_flight

__all__ = ["LAYERS", "carry_on"]

LAYERS: Final[tuple[Layer, ...]] = (
    look_up,  # a hit ends here
    report,  # the start and failures are recorded for the meter and the observers
    single_flight,  # identical calls of this process become one
    lease,  # the same between processes, if the cache supports leases
    keep,  # a complete answer goes into the cache before the lease is released
    retry,  # the only place that sends a request again
    budget,  # reserve the maximum cost, settle the real cost
    rate_limit,  # wait for a permit
    send,  # the backend's method, its answer checked and priced
)
"""In order. Fallback is not a layer: each model of an alias has its own cache key, so each passes all layers."""


def carry_on(call: Call, services: Services, after: Layer) -> Generator[Any, Any, Any]:
    """Run *call* through the layers after *after*; see `carry_out`."""
    return _from(LAYERS.index(after) + 1, call, services)


def _from(index: int, call: Call, services: Services) -> Generator[Any, Any, Any]:
    return LAYERS[index](call, services, lambda: _from(index + 1, call, services))
