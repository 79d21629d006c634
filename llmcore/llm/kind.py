"""Chat as a kind of request of the pipeline."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.calls.failures import complete_failure
from llmcore.errors import ProviderError
from llmcore.ledger.hits import HitKey
from llmcore.llm.assembly import split_reply
from llmcore.llm.cacheable import is_cacheable
from llmcore.llm.call import ChatCall, get_facts, make_event, make_start
from llmcore.llm.reply_entry import pack, read_due, unpack
from llmcore.pipeline import Answer, CachedAnswer, Services, carry_out
from llmcore.support.chat_bounds import get_answer_count, get_output_limit
from llmcore.support.ledger_values import Charge, Outcome
from llmcore.types import Reply

if TYPE_CHECKING:
    from llmcore.calls.backend import Backend
    from llmcore.llm.quote import ChatQuote
    from llmcore.types import ChatRequest, Usage

__all__ = ["CHAT", "ChatKind"]

_NOTHING: Final = Decimal(0)


class ChatKind:
    """Implements `llmcore.pipeline.RequestKind`."""

    name = "llm"
    methods = ("chat", "stream")
    """The public methods, for fixes in errors."""
    late_expected = "an answer before the deadline (timeout=, or deadline in [retry])"
    late_fix = "chat(..., timeout=seconds)"

    def run(self, call: ChatCall, services: Services) -> Generator[Any, Any, Reply]:
        """See `RequestKind.run`."""
        return carry_out(call, services)

    def decode(self, call: ChatCall, data: bytes) -> Reply | None:
        """See `RequestKind.decode`."""
        return unpack(call.key or "", data)

    def make_entries(self, call: ChatCall, result: Reply, due: float) -> Iterable[CachedAnswer]:
        """See `RequestKind.make_entries`."""
        key = call.key or ""
        return (CachedAnswer(key, pack(key, result, due)),)

    def get_refresh_time(self, call: ChatCall, data: bytes) -> float:
        """See `RequestKind.get_refresh_time`."""
        return read_due(call.key or "", data)

    def is_cacheable(self, call: ChatCall, result: Reply) -> bool:
        """See `RequestKind.is_cacheable`."""
        if not is_cacheable(result, several=get_answer_count(call.request.parameters) > 1):
            return False
        if call.answer_type is None:
            return True
        from llmcore.llm.structured_output import can_parse

        return can_parse(result, call.answer_type)

    def mark_cached(self, call: ChatCall, services: Services, result: Reply) -> Reply:
        """See `RequestKind.mark_cached`. Records the hit."""
        reply = msgspec.structs.replace(result, cached=True, cost=_NOTHING, saved=result.cost)
        key = HitKey("llm", call.backend.name, call.request.model, call.user, call.tags)
        call.starts = call.starts or services.events.record_start(lambda: make_start(call))
        services.events.record_hit(key, reply.saved, lambda: make_event(call, reply, None, 0.0), call.starts)
        return reply

    def make_pieces(self, call: ChatCall, result: Reply) -> Iterable[Any]:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.make_pieces`."""
        return split_reply(result)

    def charge(self, call: ChatCall) -> Charge:
        """See `RequestKind.charge`."""
        tier = call.request.parameters.get("service_tier")
        return Charge(
            kind=self.name,
            provider=call.backend.name,
            model=call.request.model,
            call=call.group,
            attempt=call.attempts,
            user=call.user,
            tags=call.tags,
            tier=tier if isinstance(tier, str) else None,
        )

    def quote(self, call: ChatCall, services: Services) -> ChatQuote:
        """See `RequestKind.quote`."""
        return _load_quote()[0](call.backend, call.request, services.prices)

    def estimate_tokens(self, call: ChatCall) -> int:
        """See `RequestKind.estimate_tokens`."""
        characters = sum(len(str(message.get("content") or "")) for message in call.request.messages)
        if call.request.api != "chat":
            talk = call.request.parameters
            characters = len(str(talk.get("input") or talk.get("messages") or ""))
        return characters // 4 + (get_output_limit(call.request.parameters) or 0) + 1

    def make_attempt(self, call: ChatCall, services: Services) -> Generator[Any, Any, Answer]:
        """See `RequestKind.make_attempt`."""
        return _load_attempt()(call, services)

    def settle(self, call: ChatCall, services: Services, result: Reply) -> tuple[Reply, Outcome]:  # noqa: ARG002 - a parameter of `RequestKind`
        """See `RequestKind.settle`."""
        count_usage = _load_quote()[1]
        reply = msgspec.structs.replace(result, usage=count_usage(call.backend, call.request, result))
        cost, source = call.quote.compute_final_cost(reply)
        reply = msgspec.structs.replace(reply, cost=cost, cost_source=source)
        return reply, Outcome(
            cost=reply.cost,
            cost_source=reply.cost_source,
            uncertain=reply.cost is None and reply.usage.estimated and not reply.usage.total_tokens,
            usage=reply.usage,
            model=reply.model,
            tier=reply.service_tier,
            request_id=reply.request_id,
        )

    def begin(self, call: ChatCall, services: Services) -> None:
        """See `RequestKind.begin`."""
        call.starts = services.events.record_start(lambda: make_start(call))

    def finish(self, call: ChatCall, services: Services, result: Reply) -> Reply:
        """See `RequestKind.finish`. Adds the call to the usage totals and reports it to the observers."""
        latency_s = time.monotonic() - call.started
        reply = msgspec.structs.replace(
            result,
            provider=call.backend.name,
            model=result.model or call.request.model,
            latency_s=latency_s,
        )
        call.is_settled = True
        services.events.record_call(make_event(call, reply, None, latency_s), starts=call.starts)
        return reply

    def fail(self, call: ChatCall, services: Services, error: BaseException) -> None:
        """See `RequestKind.fail`. Adds the call to the usage totals and reports it to the observers."""
        if isinstance(error, ProviderError):
            complete_failure(error, get_facts(call))
        if not call.is_settled:
            from llmcore.pipeline.budget import is_request

            event = make_event(call, None, error, time.monotonic() - call.started)
            services.events.record_call(event, asked=is_request(error), starts=call.starts)

    def explain(self, call: ChatCall, error: ProviderError) -> None:
        """See `RequestKind.explain`."""
        complete_failure(error, get_facts(call))


# The first request imports the modules `attempt` and `quote`, because a hit needs neither. The functions are cached,
# because an import statement at each request would cost a microsecond.


@functools.cache
def _load_attempt() -> Callable[[ChatCall, Services], Generator[Any, Any, Answer]]:
    from llmcore.llm.attempt import attempt

    return attempt


@functools.cache
def _load_quote() -> tuple[type[ChatQuote], Callable[[Backend, ChatRequest, Reply], Usage]]:
    from llmcore.llm.quote import ChatQuote, count_usage

    return ChatQuote, count_usage


CHAT: Final = ChatKind()
