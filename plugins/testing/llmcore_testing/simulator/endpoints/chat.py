"""POST /v1/chat/completions, plain and streaming."""

from __future__ import annotations

from typing import Any, Final

from llmcore_testing.simulator.chat_validation import check_chat
from llmcore_testing.simulator.chunks import make_stream_events
from llmcore_testing.simulator.completions import complete
from llmcore_testing.simulator.faults import Fault
from llmcore_testing.simulator.openai_common import make_headers, read_json_body, read_model
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["answer_chat"]

_NO_ANSWER: Final = frozenset({"no_choices", "wrong_schema"})


def answer_chat(call: Call) -> Answer:
    """Answer a chat request, plain or streaming."""
    body = read_json_body(call)
    model = read_model(call, body)
    check_chat(body)
    scripted = call.script.take_reply()
    completion = complete(body, model, call.settings.reply if scripted is None else scripted)
    usage = completion.get("usage")
    spent = make_headers(usage.get("total_tokens", 0) if isinstance(usage, dict) else 0)
    whole = call.fault is None or call.fault.kind not in _NO_ANSWER
    if call.fault is not None:
        completion = _apply_fault(completion, call.fault)
    if not body.get("stream"):
        return Answer(pieces=(encode(completion),), headers=spent, counted="chat" if whole else None)
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    include_usage = asked or call.settings.reports_usage
    events, end = make_stream_events(completion, include_usage=include_usage)
    return Answer(
        pieces=events,
        content_type="text/event-stream; charset=utf-8",
        headers={**spent, "cache-control": "no-cache"},
        streamed=True,
        cut_before=end,
        counted="streams" if whole else None,
    )


def _apply_fault(completion: dict[str, Any], fault: Fault) -> dict[str, Any]:
    match fault.kind:
        case "missing_usage":
            return {name: value for name, value in completion.items() if name != "usage"}
        case "usage":
            return {**completion, "usage": dict(fault.settings)}
        case "no_choices":
            return {**completion, "choices": []}
        case "no_finish_reason":
            return {**completion, "choices": [{**c, "finish_reason": None} for c in completion["choices"]]}
        case _:
            return {"object": "simulated.surprise", "result": {"text": "This is not a chat completion."}}
