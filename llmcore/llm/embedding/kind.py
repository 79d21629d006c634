"""Embeddings as a kind of request of the pipeline. One request embeds some of the texts of a call."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.calls.backend_call import call_backend, track, with_timeout
from llmcore.calls.failures import complete_failure
from llmcore.errors import ProviderError
from llmcore.llm.embedding.call import EmbeddingCall, get_facts
from llmcore.llm.embedding.quote import EmbeddingQuote, count_usage
from llmcore.llm.embedding.vector_entry import pack, unpack
from llmcore.pipeline import Answer, CachedAnswer, Services, carry_out
from llmcore.pipeline.cache import look_up
from llmcore.pipeline.send import get_time_left, make_contract_error
from llmcore.support.ledger_values import Charge, Outcome
from llmcore.types import Embeddings

__all__ = ["EMBEDDING", "EmbeddingKind", "mark_cached"]

_SHARED_S: Final = 60.0
"""The TTL, in seconds, of the entry with the result of a whole request. Other processes wait for this entry."""


class EmbeddingKind:
    """Implements `llmcore.pipeline.RequestKind`. Observers receive one event for a call: see `embed.py`."""

    name = "embedding"
    late_expected = (
        "vectors before the deadline (timeout=, or deadline in [retry]); finished requests stay in the cache"
    )
    late_fix = "embed(..., timeout=seconds)"

    def run(self, call: EmbeddingCall, services: Services) -> Generator[Any, Any, Embeddings]:
        """See `RequestKind.run`. Skip the stage `look_up`, because `embed` has already looked up the texts."""
        return carry_out(call, services, after=look_up)

    def decode(self, call: EmbeddingCall, data: bytes) -> Embeddings | None:
        """See `RequestKind.decode`."""
        found = unpack(call.key or "", data)
        return found if found is not None and len(found.vectors) == len(call.request.texts) else None

    def make_entries(self, call: EmbeddingCall, result: Embeddings, due: float) -> Iterable[CachedAnswer]:  # noqa: ARG002 - vectors are not refreshed
        """See `RequestKind.make_entries`.

        Each text has a separate cache entry, so another call with the same text is a hit.
        """
        for key, text, vector in zip(call.keys, call.request.texts, result.vectors, strict=True):
            cost = _divide_cost(result.cost, text, call.request.texts)
            yield CachedAnswer(key, pack(key, [vector], result.model, cost))
        if call.is_leased and call.key is not None and call.key not in call.keys:
            yield CachedAnswer(call.key, pack(call.key, result.vectors, result.model, result.cost), _SHARED_S)

    def get_refresh_time(self, call: EmbeddingCall, data: bytes) -> float:  # noqa: ARG002 - vectors are not refreshed
        """See `RequestKind.get_refresh_time`."""
        return 0.0

    def is_cacheable(self, call: EmbeddingCall, result: Embeddings) -> bool:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.is_cacheable`."""
        return True

    def mark_cached(self, call: EmbeddingCall, services: Services, result: Embeddings) -> Embeddings:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.mark_cached`."""
        return mark_cached(result)

    def make_pieces(self, call: EmbeddingCall, result: Embeddings) -> Iterable[Any]:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.make_pieces`."""
        return ()

    def charge(self, call: EmbeddingCall) -> Charge:
        """See `RequestKind.charge`."""
        return Charge(
            kind=self.name,
            provider=call.backend.name,
            model=call.request.model,
            call=call.group,
            attempt=call.attempts,
            user=call.user,
            tags=call.tags,
        )

    def quote(self, call: EmbeddingCall, services: Services) -> EmbeddingQuote:
        """See `RequestKind.quote`."""
        return EmbeddingQuote(call.backend, call.request.model, call.request.texts, services.prices)

    def estimate_tokens(self, call: EmbeddingCall) -> int:
        """See `RequestKind.estimate_tokens`."""
        return sum(map(len, call.request.texts)) // 4 + 1

    def make_attempt(self, call: EmbeddingCall, services: Services) -> Generator[Any, Any, Answer]:
        """See `RequestKind.make_attempt`."""
        left = get_time_left(call, sent=False)
        request = msgspec.structs.replace(call.request, timeout_s=left, idle_s=services.policy.idle_s)
        assert call.sending is not None  # noqa: S101 - the stage `budget` sets `sending`
        step = track(call.backend.require("embed")(request), call.sending)
        result = yield from call_backend(call.backend, with_timeout(call.backend, step, left))
        if not isinstance(result, Embeddings):
            what = f"answered with a {type(result).__name__}"
            raise make_contract_error(call, what, "a llmcore.types.Embeddings")
        return Answer(result)

    def settle(
        self, call: EmbeddingCall, services: Services, result: Embeddings
    ) -> tuple[Embeddings, Outcome]:
        """See `RequestKind.settle`.

        Raises:
            ProviderError: The vectors do not match the texts.
        """
        del services
        _check_vectors(call, result)
        usage = count_usage(call.backend, call.request.model, call.request.texts, result.usage)
        result = msgspec.structs.replace(result, usage=usage)
        cost, source = call.quote.compute_final_cost(result)
        result = msgspec.structs.replace(
            result,
            cost=cost,
            cost_source=source,
            cached=[False] * len(result.vectors),
            model=result.model or call.request.model,
            provider=call.backend.name,
        )
        return result, Outcome(
            cost=cost, cost_source=source, usage=usage, model=result.model, request_id=result.request_id
        )

    def begin(self, call: EmbeddingCall, services: Services) -> None:
        """Do nothing: `embed.py` reports a call once, not each request."""

    def finish(self, call: EmbeddingCall, services: Services, result: Embeddings) -> Embeddings:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.finish`."""
        return result

    def fail(self, call: EmbeddingCall, services: Services, error: BaseException) -> None:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.fail`."""
        if isinstance(error, ProviderError):
            complete_failure(error, get_facts(call))

    def explain(self, call: EmbeddingCall, error: ProviderError) -> None:
        """See `RequestKind.explain`."""
        complete_failure(error, get_facts(call))


EMBEDDING: Final = EmbeddingKind()


def mark_cached(result: Embeddings) -> Embeddings:
    """Return *result* marked as cached, at no cost for this call."""
    from llmcore.types import Usage

    return msgspec.structs.replace(
        result,
        cached=[True] * len(result.vectors),
        cost=Decimal(0),
        saved=result.cost,
        usage=Usage(),
        limits=None,
    )


def _divide_cost(cost: Decimal | None, text: str, texts: Sequence[str]) -> Decimal | None:
    """Return the share of *cost* for *text*, in proportion to its length."""
    return None if cost is None else cost * len(text) / sum(map(len, texts))


def _check_vectors(call: EmbeddingCall, result: Embeddings) -> None:
    vectors, texts = result.vectors, call.request.texts
    fault = None
    if len(vectors) != len(texts):
        fault = f"answered with {len(vectors)} vectors for {len(texts)} texts"
    elif not all(vectors) or len({len(vector) for vector in vectors}) > 1:
        fault = "answered with vectors that are empty or of different lengths"
    wanted = call.request.parameters.get("dimensions")
    if fault is None and isinstance(wanted, int) and len(vectors[0]) != wanted:
        fault = f"answered with vectors of {len(vectors[0])} numbers, not of dimensions={wanted}"
    if fault is not None:
        error = make_contract_error(call, fault, "one vector of the requested length for each text")
        error.answered = True  # the answer may be billed
        raise error
