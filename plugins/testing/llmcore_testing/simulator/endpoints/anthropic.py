"""Anthropic's endpoints below /v1: messages, batches, token counts and models. Requests send `anthropic-version`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from llmcore_testing.simulator import tokens
from llmcore_testing.simulator.completions import complete
from llmcore_testing.simulator.endpoints import message_batches, reports
from llmcore_testing.simulator.endpoints.anthropic_errors import refuse, refuse_request
from llmcore_testing.simulator.endpoints.messages import (
    apply_fault,
    check_messages,
    make_big_message,
    make_events,
    make_message,
    rename_usage,
    translate_to_chat,
)
from llmcore_testing.simulator.faults import CREATING, REWRITING, Fault
from llmcore_testing.simulator.openai_common import DEFAULT_MODELS, make_id
from llmcore_testing.simulator.openai_errors import Refused
from llmcore_testing.simulator.routing import Call, Group, Route
from llmcore_testing.simulator.wire import Answer, RecordedRequest, encode

__all__ = [
    "GROUP",
    "ROUTES",
    "answer_count",
    "answer_messages",
    "answer_models",
    "make_error_event",
    "read_key",
]

_NO_ANSWER: Final = frozenset({"no_choices", "wrong_schema"})
_OF_COUNTS: Final = frozenset({"missing_usage", "usage", "wrong_schema"})
_VERSION: Final = "anthropic-version"
_BATCHES: Final = "/v1/messages/batches"


def read_key(request: RecordedRequest) -> str | None:
    """Return the key of `x-api-key: KEY` or `Authorization: Bearer KEY`."""
    key = request.headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def answer_messages(call: Call) -> Answer:
    """Answer a Messages request, plain or streaming."""
    body = _read_body(call)
    check_messages(body)
    chat = translate_to_chat(body)
    scripted = call.script.take_reply()
    completion = complete(chat, body["model"], call.settings.reply if scripted is None else scripted)
    message = make_message(completion, body)
    whole = call.fault is None or call.fault.kind not in _NO_ANSWER
    if call.fault is not None:
        message = apply_fault(message, call.fault)
    usage = message.get("usage")
    spent = usage.get("output_tokens", 0) if isinstance(usage, dict) else 0
    headers = _make_headers(spent if isinstance(spent, int) else 0)
    if not body.get("stream"):
        return Answer(pieces=(encode(message),), headers=headers, counted="messages" if whole else None)
    events, end = make_events(message)
    return Answer(
        pieces=events,
        content_type="text/event-stream; charset=utf-8",
        headers={**headers, "cache-control": "no-cache"},
        streamed=True,
        cut_before=end,
        counted="streams" if whole else None,
        error_event=make_error_event,
    )


def answer_count(call: Call) -> Answer:
    """Count the input tokens of a request."""
    body = _read_body(call)
    check_messages({"max_tokens": 1, **body})
    count: dict[str, Any] = {"input_tokens": tokens.count_prompt(translate_to_chat(body))}
    if call.fault is not None:
        count = _rewrite_count(call.fault)
    counted = "message_counts" if call.fault is None else None
    return Answer(pieces=(encode(count),), headers=_make_headers(0), counted=counted)


def _rewrite_count(fault: Fault) -> dict[str, Any]:
    match fault.kind:
        case "missing_usage":
            return {}
        case "usage":
            return {
                name: value for name, value in rename_usage(fault.settings).items() if name == "input_tokens"
            }
        case _:
            return {"object": "simulated.surprise", "result": {"text": "This is not a count."}}


def answer_models(call: Call) -> Answer:
    """List the simulator's models."""
    known = DEFAULT_MODELS if call.settings.models is None else call.settings.models
    data = [
        {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"}
        for model in known
    ]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return Answer(
        pieces=(encode({"data": data, "has_more": False, **ends}),),
        headers=_make_headers(0),
        counted="models",
    )


def make_error_event(message: str, code: str | None) -> bytes:
    """Return the error event of a stream."""
    error = {"type": "error", "error": {"type": code or "api_error", "message": message}}
    return b"event: error\ndata: " + encode(error) + b"\n\n"


def _read_body(call: Call) -> Mapping[str, Any]:
    body = call.request.body
    if not isinstance(body, dict):
        raise refuse_request("The request body is not valid JSON")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refuse_request("model: Field required")
    if call.settings.models is not None and model not in call.settings.models:
        raise Refused(refuse(404, f"model: {model}"))
    return body


def _make_headers(spent: int) -> dict[str, str]:
    reset = "2026-01-01T00:00:00Z"
    return {
        "request-id": make_id("req_"),
        "anthropic-ratelimit-requests-limit": "4000",
        "anthropic-ratelimit-requests-remaining": "3999",
        "anthropic-ratelimit-requests-reset": reset,
        "anthropic-ratelimit-tokens-limit": "2000000",
        "anthropic-ratelimit-tokens-remaining": str(max(0, 2_000_000 - spent)),
        "anthropic-ratelimit-tokens-reset": reset,
    }


GROUP: Final = Group(
    name="anthropic", key=read_key, refuse=refuse, repeats_keys=False, make_big=make_big_message
)

ROUTES: Final = (
    Route("POST", "/v1/messages", answer_messages, GROUP, REWRITING),
    Route("POST", "/v1/messages/count_tokens", answer_count, GROUP, _OF_COUNTS),
    Route("GET", "/v1/models", answer_models, GROUP, header=_VERSION),
    Route("POST", _BATCHES, partial(message_batches.create_batch, messages=answer_messages), GROUP, CREATING),
    Route("GET", _BATCHES, message_batches.list_batches, GROUP),
    Route("GET", f"{_BATCHES}/{{batch}}/results", message_batches.read_results, GROUP),
    Route("POST", f"{_BATCHES}/{{batch}}/cancel", message_batches.cancel_batch, GROUP),
    Route("GET", f"{_BATCHES}/{{batch}}", message_batches.answer_batch, GROUP),
    Route("GET", "/v1/organizations/cost_report", reports.answer_anthropic_costs, GROUP),
    Route("GET", "/v1/organizations/usage_report/messages", reports.answer_anthropic_usage, GROUP),
)
