"""Embed the texts of one call with one model.

Look up each text, request the missing texts, and merge the vectors.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.calls.backend import Backend
from llmcore.calls.deadline import Deadline
from llmcore.calls.gather import gather
from llmcore.calls.steps import Act
from llmcore.ledger.events import Starts
from llmcore.ledger.hits import HitKey
from llmcore.llm.embedding.batches import check_lengths, get_limits, split
from llmcore.llm.embedding.call import EmbeddingCall
from llmcore.llm.embedding.kind import EMBEDDING, mark_cached
from llmcore.llm.embedding.quote import EmbeddingQuote
from llmcore.llm.embedding.vector_entry import unpack
from llmcore.pipeline import Services
from llmcore.pipeline.budget import check_budget, is_request
from llmcore.types import CallEvent, CallStart, EmbeddingRequest, Embeddings, Usage

__all__ = ["TextsCall", "embed"]

_CONCURRENT: Final = 4
"""The maximum number of concurrent requests of one call."""


class TextsCall(msgspec.Struct, kw_only=True):
    """The texts of one call for one model, and their state."""

    backend: Backend
    request: EmbeddingRequest
    """All texts. A repeated text is requested only once."""
    keys: dict[str, str]
    """The cache key of each text; empty if the call does not use the cache."""
    deadline: Deadline
    reads: bool = True
    ttl: float | None = None
    model_path: tuple[str, ...] | None = None
    timeout_s: float | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    group: str = ""
    starts: Starts = ()
    has_emitted: bool = False
    """Always False: vectors are not streamed."""
    calls: list[EmbeddingCall] = msgspec.field(default_factory=list)


def embed(call: TextsCall, services: Services) -> Generator[Any, Any, Embeddings]:
    """Return the vectors of all texts of *call*. Observers receive an event for the call, even if it fails."""
    call.group = call.group or os.urandom(8).hex()
    start = CallStart(
        kind=EMBEDDING.name,
        provider=call.backend.name,
        model=call.request.model,
        started_at=time.time(),
        call=call.group,
        user=call.user,
        tags=call.tags,
    )
    call.starts, started = services.events.record_start(lambda: start), time.monotonic()
    result: Embeddings | None = None
    error: BaseException | None = None
    try:
        result = yield from _embed(call, services)
        result = msgspec.structs.replace(result, latency_s=time.monotonic() - started)
    except BaseException as failure:
        error = failure
        raise
    finally:
        event = _make_event(call, start, result, error, time.monotonic() - started)
        if result is not None and all(result.cached):
            key = HitKey(EMBEDDING.name, start.provider, start.model, call.user, call.tags)
            services.events.record_hit(key, result.saved, lambda: event, call.starts)
        else:
            services.events.record_call(event, asked=is_request(error), starts=call.starts)
        error = None  # break the cycle: the frame and the traceback would keep each other alive
    return result


def _embed(call: TextsCall, services: Services) -> Generator[Any, Any, Embeddings]:
    texts = list(dict.fromkeys(call.request.texts))
    found = yield from _look_up(call, texts, services)
    missing = [text for text in texts if text not in found]
    if missing:
        backend, model = call.backend, call.request.model
        limits = get_limits(backend, model)
        check_lengths(backend, model, call.request.texts, limits)
        batches = [[missing[at] for at in batch] for batch in split(backend, model, missing, limits)]
        call.calls = [_make_call(call, batch, services) for batch in batches]
        if len(call.calls) > 1:
            quote = EmbeddingQuote(backend, model, missing, services.prices)
            first = call.calls[0]
            yield from check_budget(EMBEDDING.charge(first), quote, services, first.deadline.get_time_left)
            results: Sequence[Embeddings] = yield gather(
                [_make_task(each, services) for each in call.calls], _CONCURRENT
            )
        else:
            results = [(yield from EMBEDDING.run(call.calls[0], services))]
        for batch, result in zip(batches, results, strict=True):
            found |= _separate(batch, result)
        return _merge(call, found, results)
    return _merge(call, found, ())


def _look_up(call: TextsCall, texts: Sequence[str], services: Services) -> Act[dict[str, Embeddings]]:
    """Return text -> vector for each text in the cache."""
    if not call.keys or not call.reads:
        return {}
    values = yield from services.cache.lookup_many([call.keys[text] for text in texts])
    found: dict[str, Embeddings] = {}
    for text in texts:
        data = values.get(call.keys[text])
        result = None if data is None else unpack(call.keys[text], data)
        if result is not None:
            found[text] = mark_cached(result)
    return found


def _make_call(call: TextsCall, texts: Sequence[str], services: Services) -> EmbeddingCall:
    """Return the call of one request.

    The call has its own key, so that other threads and processes with an equal request share its result.
    """
    keys = tuple(call.keys[text] for text in texts) if call.keys else ()
    key: str | None = None
    if len(keys) == 1:
        key = keys[0]
    elif keys:
        key = "b:" + hashlib.sha256("\n".join(keys).encode()).hexdigest()
    return EmbeddingCall(
        kind=EMBEDDING,
        backend=call.backend,
        request=msgspec.structs.replace(call.request, texts=texts),
        keys=keys,
        key=key,
        is_leased=key is not None and services.cache.has_leases,
        deadline=call.deadline,
        reads=call.reads,
        ttl=call.ttl,
        model_path=call.model_path,
        timeout_s=call.timeout_s,
        user=call.user,
        tags=call.tags,
        group=call.group,
        starts=call.starts,
    )


def _make_task(call: EmbeddingCall, services: Services) -> Callable[[], Act[Embeddings]]:
    return lambda: EMBEDDING.run(call, services)


def _separate(texts: Sequence[str], result: Embeddings) -> dict[str, Embeddings]:
    """Return text -> vector for one request."""
    return {
        text: Embeddings(vectors=[vector], model=result.model, cached=[cached])
        for text, vector, cached in zip(texts, result.vectors, result.cached, strict=True)
    }


def _merge(call: TextsCall, found: dict[str, Embeddings], results: Sequence[Embeddings]) -> Embeddings:
    """Return the vectors in the order of the texts.

    If a text occurs several times, all occurrences except the first count as cached.
    """
    seen: set[str] = set()
    cached: list[bool] = []
    for text in call.request.texts:
        cached.append(found[text].cached[0] or (text in seen))
        seen.add(text)
    costs = [result.cost for result in results]
    known = [cost for cost in costs if cost is not None]
    saved = [each.saved for each in (*found.values(), *results) if each.saved is not None]
    last = results[-1] if results else next(iter(found.values()))
    return Embeddings(
        vectors=[list(found[text].vectors[0]) for text in call.request.texts],
        model=last.model or call.request.model,
        provider=call.backend.name,
        usage=_sum_usage([result.usage for result in results]),
        cost=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        cached=cached,
        saved=sum(saved, Decimal(0)) if saved else None,
        cost_source=next((each.cost_source for each in results if each.cost_source), None),
        request_id=last.request_id,
        limits=last.limits,
    )


def _sum_usage(usages: Sequence[Usage]) -> Usage:
    billed = [usage.cost for usage in usages if usage.cost is not None]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        estimated=any(usage.estimated for usage in usages),
        cost=sum(billed, Decimal(0)) if billed else None,
    )


def _make_event(
    call: TextsCall,
    start: CallStart,
    result: Embeddings | None,
    error: BaseException | None,
    latency_s: float,
) -> CallEvent:
    return CallEvent(
        kind=start.kind,
        provider=start.provider,
        model=start.model if result is None else result.model,
        usage=Usage() if result is None else result.usage,
        cost=None if result is None else result.cost,
        cost_source=None if result is None else result.cost_source,
        cached=result is not None and all(result.cached),
        latency_s=latency_s,
        attempts=sum(each.attempts for each in call.calls),
        call=call.group,
        user=call.user,
        tags=call.tags,
        error=None if error is None else type(error).__name__,
        started_at=start.started_at,
        request_id=getattr(error if result is None else result, "request_id", None),
    )
