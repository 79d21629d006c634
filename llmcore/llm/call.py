"""A chat call, the facts for its errors, and the event for observers."""

from __future__ import annotations

import time
from typing import Any

from llmcore.calls.failures import CallFacts
from llmcore.pipeline import Call
from llmcore.types import CallEvent, CallStart, ChatRequest, Reply, Usage

__all__ = ["ChatCall", "get_facts", "make_event", "make_start"]


class ChatCall(Call, kw_only=True):
    """A chat call to one model, and its state."""

    request: ChatRequest
    answer_type: Any = None
    """The type that the answer is parsed into. If None, the answer is not parsed."""
    model_path: tuple[str, ...] | None = None
    """The setting that names the model; None if the caller named the model."""
    timeout_s: float | None = None
    """The caller's timeout in seconds. None means the `deadline` of [retry]."""
    methods: tuple[str, str] = ("chat", "stream")
    """The names of the public methods, plain and streaming. Suggested fixes in errors use these names."""
    events_api: str = "chat"
    """The format of the events that the caller of `send_stream` receives."""
    is_settled: bool = False
    """True if the answer was recorded and reported to the observers."""


def get_facts(call: ChatCall) -> CallFacts:
    """Return the facts that complete an error of *call*."""
    return CallFacts(
        backend=call.backend,
        model=call.request.model,
        parameters=call.request.parameters,
        model_path=call.model_path,
        timeout_s=call.timeout_s,
        method=call.methods[call.streaming],
        attempts=call.attempts,
        elapsed_s=time.monotonic() - call.started,
    )


def make_start(call: ChatCall) -> CallStart:
    """Return the start event of *call* for the observers."""
    return CallStart(
        kind="llm",
        provider=call.backend.name,
        model=call.request.model,
        started_at=call.started_at or time.time(),
        call=call.group,
        stream=call.streaming,
        user=call.user,
        tags=call.tags,
    )


def make_event(
    call: ChatCall, reply: Reply | None, error: BaseException | None, latency_s: float
) -> CallEvent:
    """Return the end event of *call* for the observers."""
    return CallEvent(
        kind="llm",
        provider=call.backend.name,
        model=call.request.model if reply is None else reply.model,
        usage=Usage() if reply is None else reply.usage,
        cost=None if reply is None else reply.cost,
        cost_source=None if reply is None else reply.cost_source,
        cached=reply is not None and reply.cached,
        latency_s=latency_s,
        attempts=call.attempts,
        call=call.group,
        user=call.user,
        tags=call.tags,
        error=None if error is None else type(error).__name__,
        started_at=call.started_at or time.time(),
        request_id=getattr(error if reply is None else reply, "request_id", None),
        finish_reason=None if reply is None else reply.finish_reason,
        tier=None if reply is None else reply.service_tier,
        first_token_s=None if call.first_at is None else call.first_at - call.started,
        stream=call.streaming,
        request=call.request,
        reply=reply,
    )
