"""The pipeline of every request: a list of layers, each of them a generator.

A layer does its part and runs the next layer. To wait, a layer yields a `Step`; a streaming layer also yields the pieces of
the answer. The same layers therefore serve sync and async, and every kind of request.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

from llmcore.pipeline.cache import look_up
from llmcore.pipeline.call import Answer, Call, Entry, Layer, RequestKind, Services

__all__ = ["Answer", "Call", "Entry", "RequestKind", "Services", "carry_out"]


def carry_out(call: Call, services: Services, *, after: Layer | None = None) -> Generator[Any, Any, Any]:
    """Run *call* through the layers and return the answer. A streaming call also emits pieces.

    Args:
        call: The request.
        services: The services of the call's Core.
        after: Start behind this layer; None starts with the first layer.
    """
    if after is None:  # a hit ends in the first layer and needs no other layer
        return look_up(call, services, lambda: carry_out(call, services, after=look_up))
    return _load_layers()(call, services, after)


@functools.cache  # an import statement at each request would cost a microsecond
def _load_layers() -> Callable[[Call, Services, Layer], Generator[Any, Any, Any]]:
    from llmcore.pipeline.layers import carry_on

    return carry_on
