"""Report the start and the failure of a call that the cache did not answer."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import Any

from llmcore.pipeline.call import Call, Proceed, Services

__all__ = ["report"]


def report(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Any]:
    """Report the start and a failure of the call. The stage `keep` reports success, before it stores the answer."""
    call.started, call.started_at = time.monotonic(), time.time()
    call.group = call.group or os.urandom(8).hex()
    call.kind.begin(call, services)
    try:
        return (yield from proceed())
    except BaseException as error:
        call.kind.fail(call, services, error)
        raise
