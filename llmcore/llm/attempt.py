"""One attempt at a chat: reserve what it can cost, wait for its turn, send, settle. Every request goes this way."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.calls.asking import asked, within
from llmcore.calls.bridges import END
from llmcore.errors import IncompleteReply, LLMCoreError, ProviderError, Timeout
from llmcore.ledger.charge import Charge, Outcome
from llmcore.ledger.money import usd
from llmcore.llm.assembly import Assembly, as_deltas
from llmcore.llm.call import ChatCall, House
from llmcore.llm.quote import ChatQuote, counted
from llmcore.types import ChatRequest, Delta, Reply

if TYPE_CHECKING:
    from llmcore.ledger.book import Hold

__all__ = ["attempt"]

Answer = tuple[Reply, list[Delta]]
"""The reply, and the deltas that are still to be emitted."""

_NOTHING: Final = Decimal(0)
_REFUSED: Final = 400
"""An answer of this status or above says that nothing was done, and is not billed."""


def attempt(call: ChatCall, house: House) -> Generator[Any, Any, Answer]:
    """Make one attempt and book it, however it ends."""
    call.attempts += 1
    call.group = call.group or os.urandom(8).hex()
    backend, request = call.backend, call.request
    quote, spending = ChatQuote(backend, request, house.prices), house.spending()
    started = time.monotonic()
    hold = yield from spending.reserve(_charge(call), quote, call.deadline.left)
    sent = False
    try:
        turn = yield from house.limits.turn(backend.name, request.model, _tokens(request), call.deadline.left)
        used: int | None = None
        try:
            left = _left(call)
            sent = True
            reply, pieces = yield from _answered(call, house, left)
            reply = msgspec.structs.replace(reply, usage=counted(backend, request, reply))
            reply = msgspec.structs.replace(reply, cost=quote.cost(reply))
            used = reply.usage.total_tokens
            if reply.limits is not None:
                house.limits.learn(backend.name, request.model, reply.limits)
        finally:
            house.limits.done(turn, used)
    except GeneratorExit:  # which allows no further step
        spending.settle_now(hold, _failed(house, hold, quote, None, sent=sent, started=started))
        raise
    except BaseException as error:
        yield from spending.settle(hold, _failed(house, hold, quote, error, sent=sent, started=started))
        raise
    yield from spending.settle(hold, _done(house, hold, quote, reply, started))
    return reply, pieces


def _charge(call: ChatCall) -> Charge:
    tier = call.request.parameters.get("service_tier")
    return Charge(
        kind="llm",
        provider=call.backend.name,
        model=call.request.model,
        call=call.group,
        attempt=call.attempts,
        user=call.user,
        tags=call.tags,
        tier=tier if isinstance(tier, str) else None,
    )


def _tokens(request: ChatRequest) -> int:
    """Return about how many tokens the server will count against a rate, before anybody has counted."""
    most = request.parameters.get("max_completion_tokens", request.parameters.get("max_tokens"))
    said = sum(len(str(message.get("content") or "")) for message in request.messages)
    return said // 4 + (most if isinstance(most, int) else 0) + 1


# -- settling


def _done(house: House, hold: Hold, quote: ChatQuote, reply: Reply, started: float) -> Outcome:
    cost, uncertain = reply.cost, False
    if cost is None and reply.usage.estimated and not reply.usage.total_tokens:
        cost, uncertain = _most(hold, quote), True
        house.told.lost(cost)
    return Outcome(
        cost=cost,
        uncertain=uncertain,
        usage=reply.usage,
        model=reply.model,
        tier=reply.service_tier,
        request_id=reply.request_id,
        latency_s=time.monotonic() - started,
    )


def _failed(
    house: House, hold: Hold, quote: ChatQuote, error: BaseException | None, *, sent: bool, started: float
) -> Outcome:
    """Return what to book for a request that was not answered: where nobody told what it did, the most it can cost."""
    uncertain = sent and not _was_refused(error)
    cost = _most(hold, quote) if uncertain else _NOTHING
    if uncertain:
        house.told.lost(cost)
    name = "cancelled" if error is None or not isinstance(error, Exception) else type(error).__name__
    return Outcome(
        cost=cost,
        uncertain=uncertain,
        request_id=getattr(error, "request_id", None),
        latency_s=time.monotonic() - started,
        error=f"{error.code} {name}" if isinstance(error, LLMCoreError) else name,
    )


def _was_refused(error: BaseException | None) -> bool:
    if isinstance(error, ProviderError):
        return not error.sent or (error.status is not None and error.status >= _REFUSED)
    return isinstance(error, LLMCoreError)  # of ours, from before anything was sent


def _most(hold: Hold, quote: ChatQuote) -> Decimal | None:
    if hold.reserved:
        return usd(hold.reserved)
    try:
        return quote.most(exact=False)
    except LLMCoreError:
        return None


# -- sending


def _answered(call: ChatCall, house: House, left: float) -> Generator[Any, Any, Answer]:
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


def _streamed(call: ChatCall, request: ChatRequest) -> Generator[Any, Any, Answer]:
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
