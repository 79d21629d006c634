"""One chat call, and the house that it is made in."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from llmcore.cache.lease import Leases
from llmcore.cache.refresh import Refresher
from llmcore.cache.store import CacheStore
from llmcore.calls.attempts import Deadline, RetryPolicy
from llmcore.calls.backend import Backend
from llmcore.calls.flight import Flights
from llmcore.ledger.paying import Paying
from llmcore.ledger.prices import PriceLike
from llmcore.ledger.told import Told
from llmcore.types import CallEvent, ChatRequest, Reply, Usage

__all__ = ["ChatCall", "House", "event_of"]


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What all calls of one Core share."""

    cache: CacheStore
    flights: Flights
    leases: Leases
    policy: RetryPolicy
    prices: Mapping[str, PriceLike]
    paying: Paying
    told: Told
    refresher: Refresher


class ChatCall(msgspec.Struct, kw_only=True):
    """One call to one model, and how far it has come."""

    backend: Backend
    request: ChatRequest
    deadline: Deadline
    key: str | None = None
    """None for a call that the cache has no part in."""
    ttl: float | None = None
    """Seconds that the answer is kept; None takes the cache's own."""
    refresh: float | None = None
    """After which part of its ttl the answer is asked for anew, in the background; None for never."""
    reads: bool = True
    """False to answer afresh and keep the answer."""
    streaming: bool = False
    user: str | None = None
    tags: tuple[str, ...] = ()
    kind: type | None = None
    """What the answer is to be an instance of."""
    group: str = ""
    """In the ledger: shared with the models of an alias that were tried before."""
    attempts: int = 0
    settled: bool = False
    begun: bool = False
    """Whether the consumer has seen a piece: from then on nothing is tried again."""

    def begin(self) -> None:
        """Note that a piece is given."""
        self.begun = True


def event_of(call: ChatCall, reply: Reply | None, error: str | None, latency_s: float) -> CallEvent:
    """Return what observers are told of *call*."""
    return CallEvent(
        kind="llm",
        provider=call.backend.name,
        model=call.request.model if reply is None else reply.model,
        usage=Usage() if reply is None else reply.usage,
        cost=None if reply is None else reply.cost,
        cached=reply is not None and reply.cached,
        latency_s=latency_s,
        attempts=call.attempts,
        call=call.group,
        user=call.user,
        tags=call.tags,
        error=error,
    )
