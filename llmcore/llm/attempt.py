"""One attempt at a chat: send the request, and return the answer or assemble the stream."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from llmcore.calls.backend_call import call_backend, track, with_timeout
from llmcore.errors import IncompleteReply, ProviderError
from llmcore.llm.assembly import Assembly
from llmcore.llm.call import ChatCall
from llmcore.pipeline import Answer, Services
from llmcore.pipeline.send import get_time_left, make_contract_error, receive
from llmcore.support.chat_bounds import get_answer_count
from llmcore.types import ChatRequest, Delta, Reply

__all__ = ["attempt"]


def attempt(call: ChatCall, services: Services) -> Generator[Any, Any, Answer]:
    """Send the request once.

    Emit the deltas of a streaming call as they arrive. The delta with the last finish reason, and all deltas after
    it, are not emitted but returned in `Answer.held`.
    """
    left = get_time_left(call, sent=False)
    call.first_at = None
    request = msgspec.structs.replace(call.request, timeout_s=left, idle_s=services.policy.idle_s)
    if call.streaming and call.backend.find_ability("stream") is not None:
        return (yield from _stream(call, request))
    complete = call.backend.require("complete")
    assert call.sending is not None  # noqa: S101 - the stage `budget` sets `sending`
    reply = yield from call_backend(
        call.backend, with_timeout(call.backend, track(complete(request), call.sending), left)
    )
    if not isinstance(reply, Reply):
        raise make_contract_error(call, f"answered with a {type(reply).__name__}", "a llmcore.types.Reply")
    return Answer(reply)


def _stream(call: ChatCall, request: ChatRequest) -> Generator[Any, Any, Answer]:
    assembly = Assembly(get_answer_count(call.request.parameters))
    # Deltas before the first content are held back, because a retry would emit them a second time.
    opening: list[Delta] = []
    held: list[Delta] = []

    def take(delta: Any) -> Sequence[Delta]:
        if type(delta) is not Delta and not isinstance(delta, Delta):
            raise make_contract_error(call, f"streamed a {type(delta).__name__}", "a llmcore.types.Delta")
        assembly.add(delta)
        if call.first_at is None and (delta.text or delta.reasoning or delta.refusal or delta.tool_calls):
            call.first_at = time.monotonic()
        if held or (delta.finish_reason and assembly.is_whole):
            held.append(delta)
            return ()
        if call.has_emitted:
            return (delta,)
        opening.append(delta)
        if not delta.has_content:
            return ()
        call.has_emitted = True
        return opening

    try:
        yield from receive(call, call.backend.open_stream("stream", request), take)
        if assembly.is_finished:
            return Answer(assembly.build_reply(), held if call.has_emitted else opening + held)
        raise IncompleteReply(
            "the answer broke off before its end",
            provider=call.backend.name,
            answered=True,
            expected="a last delta with a finish_reason",
        )
    except ProviderError as error:
        if error.partial is None:
            error.partial = assembly.text
        raise
