"""Leases: if several processes need the same answer, one sends the request and the others wait for the cache entry."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from llmcore.pipeline.call import Answer, Call, Proceed, Services

__all__ = ["lease"]


def lease(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Any]:
    """Acquire the lease for the call's key, proceed, and release the lease.

    If another process has the lease, wait for it, and return the answer that the other process stores.
    """
    key, is_held = call.key, False
    if key is not None and call.reads:
        data, is_held = yield from services.leases.acquire_or_wait(key, call.deadline.get_time_left)
        found = None if data is None else call.kind.decode(call, data)
        if found is not None:
            return found
    answer: Answer = yield from services.leases.hold(key if is_held else None, proceed())
    for piece in answer.held:
        call.note_piece()
        yield piece
    return answer.result
