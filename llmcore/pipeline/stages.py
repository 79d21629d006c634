"""The list of stages, the middleware of a request. The first request that misses the cache imports this module."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from llmcore.pipeline.budget import budget
from llmcore.pipeline.cache import keep, look_up
from llmcore.pipeline.call import Call, Services, Stage
from llmcore.pipeline.lease import lease
from llmcore.pipeline.rate_limit import rate_limit
from llmcore.pipeline.report import report
from llmcore.pipeline.retry import retry
from llmcore.pipeline.send import send
from llmcore.pipeline.single_flight import single_flight

__all__ = ["STAGES", "carry_on"]

STAGES: Final[tuple[Stage, ...]] = (
    look_up,  # returns at a cache hit
    report,  # reports the start and failures to the usage totals and the observers
    single_flight,  # joins identical concurrent calls of this process
    lease,  # joins identical calls of several processes, if the cache supports leases
    keep,  # stores a complete answer before the lease is released
    retry,  # runs the stages below once for each attempt
    budget,  # reserves the maximum cost, and settles the real cost
    rate_limit,  # waits for a permit
    send,  # calls the backend, and checks and prices the answer
)
"""The stages in order.

Fallback is not a stage. The models of an alias have different cache keys, so the call of each model runs through all
stages.
"""


def carry_on(call: Call, services: Services, after: Stage) -> Generator[Any, Any, Any]:
    """Run *call* through the stages after *after*; see `carry_out`."""
    return _run_from(STAGES.index(after) + 1, call, services)


def _run_from(index: int, call: Call, services: Services) -> Generator[Any, Any, Any]:
    return STAGES[index](call, services, lambda: _run_from(index + 1, call, services))
