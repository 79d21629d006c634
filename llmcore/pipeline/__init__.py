"""The pipeline of every request: a list of stages, each of them a generator.

A stage does its part and runs the next stage. To wait, a stage yields a `Step`. In a streaming call, a stage also yields
the pieces of the answer. The same stages therefore serve sync and async calls, and every kind of request.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

from llmcore.pipeline.cache import look_up
from llmcore.pipeline.call import Answer, CachedAnswer, Call, RequestKind, Services, Stage

__all__ = ["Answer", "CachedAnswer", "Call", "RequestKind", "Services", "carry_out"]


def carry_out(call: Call, services: Services, *, after: Stage | None = None) -> Generator[Any, Any, Any]:
    """Run *call* through the stages and return the answer. A streaming call also emits pieces.

    Args:
        call: The request.
        services: The services of the call's Core.
        after: Start with the stage that follows this one; if None, start with the first stage.
    """
    if after is None:  # a hit ends in the first stage and needs no other stage
        return look_up(call, services, lambda: carry_out(call, services, after=look_up))
    return _load_stages()(call, services, after)


@functools.cache  # because an import statement at each request would cost a microsecond
def _load_stages() -> Callable[[Call, Services, Stage], Generator[Any, Any, Any]]:
    from llmcore.pipeline.stages import carry_on

    return carry_on
