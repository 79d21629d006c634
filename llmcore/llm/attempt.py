"""One attempt at a chat: the request, the answer or the stream put together, and what it cost."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from typing import Any

import msgspec

from llmcore.calls.asking import asked, within
from llmcore.calls.bridges import END
from llmcore.errors import IncompleteReply, ProviderError, RateLimited, Timeout
from llmcore.ledger.charge import Charge, Outcome
from llmcore.llm.assembly import Assembly, as_deltas
from llmcore.llm.call import ChatCall, House
from llmcore.llm.quote import ChatQuote, counted
from llmcore.types import ChatRequest, Delta, Reply

__all__ = ["attempt"]

Answer = tuple[Reply, list[Delta]]
"""The reply, and the deltas that are still to be emitted."""


def attempt(call: ChatCall, house: House) -> Generator[Any, Any, Answer]:
    """Make one attempt, paid for and booked."""
    call.attempts += 1
    call.group = call.group or os.urandom(8).hex()
    quote = ChatQuote(call.backend, call.request, house.prices)
    return (
        yield from house.paying.paid(
            _charge(call),
            quote,
            lambda: _sent(call, house, quote),
            tokens=_tokens(call.request),
            left=call.deadline.left,
        )
    )


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


def _sent(call: ChatCall, house: House, quote: ChatQuote) -> Generator[Any, Any, tuple[Answer, Outcome]]:
    """Send the request; return the answer, and what it cost."""
    backend, request = call.backend, call.request
    try:
        reply, pieces = yield from _answered(call, house)
    except RateLimited as error:
        if error.limits is not None:
            house.paying.limits.learn(backend.name, request.model, error.limits)
        raise
    if reply.limits is not None:
        house.paying.limits.learn(backend.name, request.model, reply.limits)
    reply = msgspec.structs.replace(reply, usage=counted(backend, request, reply))
    reply = msgspec.structs.replace(reply, cost=quote.cost(reply))
    outcome = Outcome(
        cost=reply.cost,
        uncertain=reply.cost is None and reply.usage.estimated and not reply.usage.total_tokens,
        usage=reply.usage,
        model=reply.model,
        tier=reply.service_tier,
        request_id=reply.request_id,
    )
    return (reply, pieces), outcome


def _answered(call: ChatCall, house: House) -> Generator[Any, Any, Answer]:
    left = _left(call, sent=False)
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
            left = _left(call, sent=True)
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


def _left(call: ChatCall, *, sent: bool) -> float:
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
        sent=sent,
        expected="an answer within the deadline of [retry], or timeout=",
        fix="chat(..., timeout=seconds)",
    )
