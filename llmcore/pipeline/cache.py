"""The two cache stages: look up an answer, and store a complete one."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import msgspec

from llmcore.calls.deadline import Deadline
from llmcore.calls.steps import Act
from llmcore.pipeline.call import Answer, Call, Proceed, Services

if TYPE_CHECKING:
    from llmcore.cache.refresh import Renewal

__all__ = ["keep", "look_up", "peek", "replay"]


def peek(call: Call, services: Services) -> Any | None:
    """Return the answer from the memory tier; None if the tier has no fresh answer, or the call does not read the cache."""
    if call.key is None or not call.reads:
        return None
    data = services.cache.get_from_memory(call.key)
    result = None if data is None else call.kind.decode(call, data)
    if result is None or _is_due(call, data):
        return None
    services.cache.stats.record_hit()
    return call.kind.mark_cached(call, services, result)


def look_up(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Any]:
    """Return the answer from the cache; on a miss, proceed."""
    if call.key is None or not call.reads:
        return (yield from proceed())
    data = yield from services.cache.lookup(call.key)
    result = None if data is None else call.kind.decode(call, data)
    if result is None:
        return (yield from proceed())
    if _is_due(call, data):
        yield services.refresher.make_step(_make_renewal(call, services))
    return (yield from replay(call, services, result))


def keep(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Answer]:
    """Proceed, and cache the answer if it is complete."""
    answer: Answer = yield from proceed()
    result = call.kind.finish(call, services, answer.result)
    if call.key is not None and call.kind.is_cacheable(call, result):
        for key, data, ttl in call.kind.make_entries(call, result, _find_refresh_time(call, services)):
            yield from services.cache.keep(
                key, data, call.ttl if ttl is None else ttl, replaces=not call.reads
            )
    return answer._replace(result=result)


def replay(call: Call, services: Services, result: Any, *, emitted: int = 0) -> Generator[Any, Any, Any]:
    """Return *result*, an answer from the cache or of another call, marked as cached.

    A streaming call also emits the answer as pieces, unless it has already emitted pieces. *emitted* is the number of
    pieces that it has emitted.
    """
    result = call.kind.mark_cached(call, services, result)
    if call.streaming and not emitted:
        yield from call.kind.make_pieces(call, result)
    return result


def _find_refresh_time(call: Call, services: Services) -> float:
    ttl = services.cache.ttl if call.ttl is None else call.ttl
    return 0.0 if call.refresh is None or ttl is None else time.time() + call.refresh * ttl


def _is_due(call: Call, data: bytes | None) -> bool:
    """Return whether the entry *data* is due for refresh."""
    if call.refresh is None or data is None:
        return False
    return 0 < call.kind.get_refresh_time(call, data) <= time.time()


def _make_renewal(call: Call, services: Services) -> Renewal:
    """Return the `Renewal` that refreshes the cache entry of *call* in the background.

    It sends the same request in a new call, which has the configured deadline.
    """
    from llmcore.cache.refresh import Renewal  # imported here, because most hits are fresh

    again = msgspec.structs.replace(
        call,
        reads=False,
        streaming=False,
        deadline=Deadline(services.policy.deadline_s),
        group="",
        starts=(),
        attempts=0,
        has_emitted=False,
    )

    def is_due(data: bytes) -> Act[bool]:
        yield from ()
        return call.kind.decode(call, data) is not None and _is_due(call, data)

    def refresh() -> Act[None]:
        again.deadline.start()
        yield from call.kind.run(again, services)

    name = f"a reply of `{call.backend.name}:{call.kind.charge(call).model}`"
    return Renewal(call.key or "", name, is_due, refresh)
