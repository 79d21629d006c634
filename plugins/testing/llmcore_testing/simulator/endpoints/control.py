"""/_simulator/...: endpoints through which another process scripts the simulator and reads requests and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llmcore.errors import ConfigError
from llmcore_testing.simulator.faults import Fault, parse_times
from llmcore_testing.simulator.openai_errors import make_invalid, make_refusal
from llmcore_testing.simulator.routing import Call, Group, Route
from llmcore_testing.simulator.script import PlannedFault
from llmcore_testing.simulator.wire import Answer, RecordedRequest, encode

__all__ = ["GROUP", "ROUTES"]

_SECRETS: Final = frozenset({"authorization", "api-key", "xi-api-key", "x-api-key", "cookie"})


def _answer_counts(call: Call) -> Answer:
    script = call.script
    with script.changed:
        counts = dict(sorted(script.counts.items()))
        numbers = {"in_flight": script.in_flight, "max_in_flight": script.max_in_flight, "counts": counts}
    return _make_json(numbers)


def _answer_requests(call: Call) -> Answer:
    return _make_json({"requests": [_describe(request) for request in call.script.list_requests()]})


def _describe(request: RecordedRequest) -> dict[str, Any]:
    headers = {name: "…" if name in _SECRETS else value for name, value in request.headers.items()}
    return {
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "headers": headers,
        "body": request.body,
    }


def _fail(call: Call) -> Answer:
    body = call.request.body
    if not isinstance(body, dict) or not isinstance(body.get("fault"), str):
        raise make_invalid('Expected a JSON object such as {"fault": "status", "status": 429, "times": 1}.')
    settings = {
        name: value for name, value in body.items() if name not in {"fault", "times", "path", "model"}
    }
    try:
        fault, times = Fault.from_name(body["fault"], **settings), parse_times(body.get("times", 1))
    except ConfigError as exc:
        raise make_invalid(str(exc)) from None
    call.script.queue_fault(PlannedFault(fault, times, body.get("path"), body.get("model")))
    return _make_json({"ok": True})


def _queue_replies(call: Call) -> Answer:
    body = call.request.body
    replies = body.get("replies") if isinstance(body, dict) else None
    if not isinstance(replies, list) or not all(isinstance(reply, str | dict) for reply in replies):
        raise make_invalid(
            'Expected a JSON object such as {"replies": ["Paris."]}; each reply is a text or a message.'
        )
    call.script.queue(replies)
    return _make_json({"ok": True})


def _run_command(call: Call) -> Answer:
    call.control(call.request.path.rpartition("/")[2])
    return _make_json({"ok": True})


def _make_json(value: Any) -> Answer:
    return Answer(pieces=(encode(value),))


def _require_loopback(answer: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    """Reject requests that name another host: after DNS rebinding, a browser could send such requests."""

    def check_and_answer(call: Call) -> Answer:
        host = call.request.headers.get("host", "").rpartition(":")[0] or call.request.headers.get("host")
        if host not in {"127.0.0.1", "localhost"}:
            return make_refusal(
                403, "The simulator accepts control requests for the hosts 127.0.0.1 and localhost only."
            )
        return answer(call)

    return check_and_answer


GROUP: Final = Group(name="control", key=None, refuse=make_refusal, recorded=False)

ROUTES: Final = (
    Route("GET", "/_simulator/counts", _require_loopback(_answer_counts), GROUP),
    Route("GET", "/_simulator/requests", _require_loopback(_answer_requests), GROUP),
    Route("POST", "/_simulator/fail", _require_loopback(_fail), GROUP),
    Route("POST", "/_simulator/replies", _require_loopback(_queue_replies), GROUP),
    Route("POST", "/_simulator/hold", _require_loopback(_run_command), GROUP),
    Route("POST", "/_simulator/finish_batches", _require_loopback(_run_command), GROUP),
    Route("POST", "/_simulator/release", _require_loopback(_run_command), GROUP),
    Route("POST", "/_simulator/reset", _require_loopback(_run_command), GROUP),
)
