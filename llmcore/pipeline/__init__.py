"""The pipeline of every request: a list of layers. Each layer is a generator that never waits itself.

A layer does its part and calls the next one. The layer yields each waiting operation as a `Step`, and passes on the pieces
of a streamed answer. The same code therefore works for sync and async, and for every kind of request.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

from llmcore.pipeline.cache import look_up
from llmcore.pipeline.call import Answer, Call, Entry, Layer, RequestKind, Services

__all__ = ["Answer", "Call", "Entry", "RequestKind", "Services", "carry_out"]


def carry_out(call: Call, services: Services, *, after: Layer | None = None) -> Generator[Any, Any, Any]:
    """Run *call* through the layers and return its answer; a streaming call emits its pieces.

    Args:
        call: The request.
        services: The services of the call's Core.
        after: Start with the layer after *after*; with None, start with the first layer.
    """
    if after is None:  # a hit ends in the first layer and needs no other layer
        return look_up(call, services, lambda: carry_out(call, services, after=look_up))
    return _load_layers()(call, services, after)


@functools.cache  # an import statement at each request would cost a microsecond
def _load_layers() -> Callable[[Call, Services, Layer], Generator[Any, Any, Any]]:
    from llmcore.pipeline.layers import carry_on

    return carry_on
