"""The life of one chat call, from the key to the reply: decides everything and waits for nothing itself."""

from __future__ import annotations

import time
from collections.abc import Generator
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from llmcore.calls.attempts import Shared, attempts
from llmcore.calls.flight import Landed
from llmcore.calls.steps import Step
from llmcore.ledger.hits import Whose
from llmcore.llm.assembly import as_deltas
from llmcore.llm.attempt import attempt
from llmcore.llm.call import ChatCall, House, event_of
from llmcore.llm.entry import KEEPABLE, pack, unpack
from llmcore.llm.refresh import due_at, is_due, renewal
from llmcore.llm.structured import fits
from llmcore.types import Delta, Reply

__all__ = ["exchange", "known"]

Exchange: TypeAlias = Generator[Step | Delta, Any, Reply]

_NOTHING: Final = Decimal(0)


def known(call: ChatCall, house: House) -> Reply | None:
    """Return the answer that this process's own memory has, the short way; None says nothing: `exchange` does."""
    if call.key is None or not call.reads:
        return None
    data = house.cache.near(call.key)
    reply = None if data is None else unpack(call.key, data)
    if reply is None or (call.refresh is not None and is_due(call, data)):
        return None
    house.cache.stats.hit()
    return _given(call, house, reply)


def exchange(call: ChatCall, house: House) -> Exchange:
    """Answer *call*; a streaming one emits its deltas on the way."""
    started = time.monotonic()
    if call.key is not None and call.reads:
        data = yield from house.cache.lookup(call.key)
        reply = None if data is None else unpack(call.key, data)
        if reply is not None:
            if is_due(call, data):
                yield house.refresher.step(renewal(call, house, exchange))
            return (yield from _replayed(call, house, reply))
    try:
        if call.key is None:
            return (yield from _asked(call, house, started))
        landed = yield from _together(call, call.key, house, started)
    except BaseException as error:
        if not call.settled:
            house.told.hear(event_of(call, None, type(error).__name__, time.monotonic() - started))
        raise
    if call.attempts:
        if call.streaming and not landed.pieces:
            yield from as_deltas(landed.value)
        whole: Reply = landed.value
        return whole
    return (yield from _replayed(call, house, landed.value, emitted=landed.pieces))


def _together(call: ChatCall, key: str, house: House, started: float) -> Generator[Any, Any, Landed]:
    """Ask once for all who ask the same now, for as long as the most patient of them can wait."""
    own, flight = call.deadline, key if call.reads else key + " refresh"
    call.deadline = Shared(lambda: house.flights.left(flight))
    return (
        yield from house.flights.together(
            flight,
            lambda: _asked(call, house, started),
            emit=call.begin if call.streaming else None,
            left=own.left,
        )
    )


def _asked(call: ChatCall, house: House, started: float) -> Exchange:
    """Ask the backend, unless another process is asking the same; book and keep its answer.

    The last delta is emitted when all that is done, since a consumer may stop after it.
    """
    key = call.key
    try:
        if key is not None and call.reads:
            data = yield from house.leases.lead(key, call.deadline.left)
            found = None if data is None else unpack(key, data)
            if found is not None:
                return found
        reply, pieces = yield from attempts(
            lambda: attempt(call, house), house.policy, call.deadline, again=lambda _: not call.begun
        )
        reply = _settled(call, house, reply, time.monotonic() - started)
        if key is not None and _keepable(call, reply):
            yield from house.cache.keep(key, pack(key, reply, due_at(call, house)), call.ttl)
    except GeneratorExit:  # which allows no further step
        house.leases.forgo(key)
        raise
    except BaseException:
        yield from house.leases.give_back(key)
        raise
    yield from house.leases.give_back(key)
    yield from pieces
    return reply


def _keepable(call: ChatCall, reply: Reply) -> bool:
    """Return whether *reply* is finished in every choice, and what was asked for."""
    if reply.finish_reason not in KEEPABLE or (call.kind is not None and not fits(reply, call.kind)):
        return False
    if call.request.parameters.get("n") in {None, 1}:
        return True
    document: Any = reply.raw
    choices = document.get("choices", ()) if isinstance(document, dict) else ()
    return bool(choices) and all(choice.get("finish_reason") in KEEPABLE for choice in choices)


def _replayed(call: ChatCall, house: House, reply: Reply, *, emitted: int = 0) -> Exchange:
    """Give an answer that somebody else asked for: an earlier call, or an identical one at the same time."""
    reply = _given(call, house, reply)
    if call.streaming and not emitted:
        yield from as_deltas(reply)
    return reply


def _given(call: ChatCall, house: House, reply: Reply) -> Reply:
    reply = msgspec.structs.replace(reply, cached=True, cost=_NOTHING, saved=reply.cost)
    whose = Whose("llm", call.backend.name, call.request.model, call.user, call.tags)
    house.told.hit(whose, reply.saved, lambda: event_of(call, reply, None, 0.0))
    return reply


def _settled(call: ChatCall, house: House, reply: Reply, latency_s: float) -> Reply:
    """Return *reply* with what the host knows of it, and tell of it."""
    reply = msgspec.structs.replace(
        reply,
        provider=call.backend.name,
        model=reply.model or call.request.model,
        latency_s=latency_s,
    )
    call.settled = True
    house.told.hear(event_of(call, reply, None, latency_s))
    return reply
