"""The stage for single-flight: identical concurrent calls of this process share one request."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from llmcore.calls.deadline import SharedDeadline
from llmcore.calls.single_flight import READ_AHEAD
from llmcore.pipeline.cache import replay
from llmcore.pipeline.call import Call, Proceed, Services

__all__ = ["single_flight"]


def single_flight(call: Call, services: Services, proceed: Proceed) -> Generator[Any, Any, Any]:
    """Proceed once for all identical concurrent calls. The deadline is the latest deadline of these calls."""
    if call.key is None:
        result = yield from proceed()
        # The backend has not streamed: emit the pieces of the complete answer.
        if call.streaming and not call.has_emitted:
            yield from call.kind.make_pieces(call, result)
        return result
    own, flight = call.deadline, call.key if call.reads else call.key + " refresh"
    flights = services.flights
    call.deadline = SharedDeadline(lambda: flights.get_time_left(flight))
    shared = yield from flights.join(
        flight,
        proceed,
        emit=call.note_piece if call.streaming else None,
        left=own.get_time_left,
        ahead=READ_AHEAD,
    )
    if not call.attempts:  # another call or another process has sent the request
        return (yield from replay(call, services, shared.value, emitted=shared.pieces))
    if call.streaming and not shared.pieces:
        yield from call.kind.make_pieces(call, shared.value)
    return shared.value
