"""The life of one chat call, from the key to the reply: decides everything and waits for nothing itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from llmcore.cache.lease import Leases
from llmcore.cache.store import CacheStore
from llmcore.calls.asking import asked, within
from llmcore.calls.attempts import Deadline, RetryPolicy, Shared, attempts
from llmcore.calls.backend import Backend
from llmcore.calls.bridges import END
from llmcore.calls.flight import Flights, Landed
from llmcore.calls.steps import Step
from llmcore.errors import IncompleteReply, ProviderError, Timeout
from llmcore.ledger.prices import PriceLike, cost_at, known_cost
from llmcore.ledger.told import Told
from llmcore.llm.assembly import Assembly, as_deltas
from llmcore.llm.entry import KEEPABLE, pack, unpack
from llmcore.llm.structured import fits
from llmcore.types import CallEvent, ChatRequest, Delta, Reply, Usage

__all__ = ["ChatCall", "House", "exchange", "known"]

Exchange: TypeAlias = Generator[Step | Delta, Any, Reply]

_NOTHING: Final = Decimal(0)


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What all calls of one Core share."""

    cache: CacheStore
    flights: Flights
    leases: Leases
    policy: RetryPolicy
    prices: Mapping[str, PriceLike]
    told: Told


class ChatCall(msgspec.Struct, kw_only=True):
    """One call to one model, and how far it has come."""

    backend: Backend
    request: ChatRequest
    deadline: Deadline
    key: str | None = None
    """None for a call that the cache has no part in."""
    ttl: float | None = None
    """Seconds that the answer is kept; None takes the cache's own."""
    reads: bool = True
    """False to answer afresh and keep the answer."""
    streaming: bool = False
    user: str | None = None
    tags: tuple[str, ...] = ()
    kind: type | None = None
    """What the answer is to be an instance of."""
    attempts: int = 0
    settled: bool = False
    begun: bool = False
    """Whether the consumer has seen a piece: from then on nothing is tried again."""

    def begin(self) -> None:
        """Note that a piece is given."""
        self.begun = True


def known(call: ChatCall, house: House) -> Reply | None:
    """Return the answer that this process's own memory has, the short way; None says nothing: `exchange` does."""
    if call.key is None or not call.reads:
        return None
    data = house.cache.near(call.key)
    reply = None if data is None else unpack(call.key, data)
    if reply is None:
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
            return (yield from _replayed(call, house, reply))
    try:
        if call.key is None:
            return (yield from _asked(call, house, started))
        landed = yield from _together(call, call.key, house, started)
    except BaseException as error:
        if not call.settled:
            house.told.hear(_event(call, None, type(error).__name__, time.monotonic() - started))
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
            lambda: _once(call, house), house.policy, call.deadline, again=lambda _: not call.begun
        )
        reply = _settled(call, house, reply, time.monotonic() - started)
        if key is not None and _keepable(call, reply):
            yield from house.cache.keep(key, pack(key, reply), call.ttl)
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
    house.told.hear(_event(call, reply, None, 0.0))
    return reply


def _once(call: ChatCall, house: House) -> Generator[Any, Any, tuple[Reply, list[Delta]]]:
    """Make one attempt; return the reply, and the deltas that are still to be emitted."""
    call.attempts += 1
    left = _left(call)
    request = msgspec.structs.replace(call.request, timeout_s=left, idle_s=house.policy.idle_s)
    if call.streaming and call.backend.ability("stream") is not None:
        return (yield from _streamed(call, request))
    complete = call.backend.must("complete")
    reply = yield from asked(call.backend, within(complete(request), left))
    if not isinstance(reply, Reply):
        raise ProviderError(
            f"the llm provider `{call.backend.name}` answered with a {type(reply).__name__}",
            provider=call.backend.name,
            expected="a llmcore.types.Reply",
            fix=f"llmcore plugins check {call.backend.name}",
        )
    return reply, list(as_deltas(reply)) if call.streaming else []


def _streamed(call: ChatCall, request: ChatRequest) -> Generator[Any, Any, tuple[Reply, list[Delta]]]:
    source = call.backend.source("stream", request)
    assembly = Assembly()
    held: list[Delta] = []
    try:
        while True:
            left = _left(call)
            delta = yield from asked(call.backend, within(source.next, min(left, request.idle_s or left)))
            if delta is END:
                break
            assembly.add(delta)
            if assembly.finished:
                held.append(delta)
            else:
                call.begin()
                yield delta
        whole = _whole(assembly, call)
    except BaseException as error:
        if isinstance(error, ProviderError) and error.partial is None:
            error.partial = assembly.text
        if not isinstance(error, GeneratorExit):  # which allows no further step
            with contextlib.suppress(Exception):  # the first error is the one to tell
                yield source.close
        raise
    return whole, held


def _whole(assembly: Assembly, call: ChatCall) -> Reply:
    if assembly.finished:
        return assembly.reply()
    raise IncompleteReply(
        "the answer broke off before its end",
        provider=call.backend.name,
        expected="a last piece with a finish_reason",
    )


def _left(call: ChatCall) -> float:
    """Return the seconds until the deadline.

    Raises:
        Timeout: There are none.
    """
    left = call.deadline.left()
    if left > 0:
        return left
    raise Timeout(
        "the deadline of the call has passed",
        provider=call.backend.name,
        expected="an answer within the deadline of [retry], or timeout=",
        fix="chat(..., timeout=seconds)",
    )


def _settled(call: ChatCall, house: House, reply: Reply, latency_s: float) -> Reply:
    """Return *reply* with what the host knows of it, after booking it."""
    model = reply.model or call.request.model
    own_price = house.prices.get(f"{call.backend.name}:{call.request.model}")
    if own_price is not None:
        cost: Decimal | None = cost_at(own_price, reply.usage)
    elif reply.cost is not None:
        cost = reply.cost
    else:
        cost = known_cost(call.backend.offline, model, reply)
    reply = msgspec.structs.replace(
        reply,
        provider=call.backend.name,
        model=model,
        cost=cost,
        latency_s=latency_s,
    )
    call.settled = True
    house.told.hear(_event(call, reply, None, latency_s))
    return reply


def _event(call: ChatCall, reply: Reply | None, error: str | None, latency_s: float) -> CallEvent:
    return CallEvent(
        kind="llm",
        provider=call.backend.name,
        model=call.request.model if reply is None else reply.model,
        usage=Usage() if reply is None else reply.usage,
        cost=None if reply is None else reply.cost,
        cached=reply is not None and reply.cached,
        latency_s=latency_s,
        attempts=call.attempts,
        user=call.user,
        tags=call.tags,
        error=error,
    )
