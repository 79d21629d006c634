"""/v1/messages/batches, Anthropic's batches: create, describe, list, cancel, and results as JSON lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from llmcore_testing.simulator.batch_queue import (
    Batch,
    Item,
    Result,
    answer_item,
    find_queue,
    read_page,
)
from llmcore_testing.simulator.endpoints.anthropic_errors import refuse, refuse_request
from llmcore_testing.simulator.openai_common import make_id
from llmcore_testing.simulator.openai_errors import Refused
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["answer_batch", "cancel_batch", "create_batch", "list_batches", "read_results"]

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MOST_ITEMS: Final = 100_000


def create_batch(call: Call, messages: Any) -> Answer:
    """Accept or reject a batch. *messages* answers single requests."""
    body = call.request.body
    requests = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(requests, list) or not 0 < len(requests) <= _MOST_ITEMS:
        raise refuse_request(f"requests: List should have 1 to {_MOST_ITEMS} items")
    names: set[str] = set()
    for index, request in enumerate(requests):
        name = request.get("custom_id") if isinstance(request, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise refuse_request(f"requests.{index}.custom_id: String should match pattern '{_NAME.pattern}'")
        if name in names:
            raise refuse_request(f"requests.{index}.custom_id: must be unique, got {name} twice")
        if not isinstance(request.get("params"), dict):
            raise refuse_request(f"requests.{index}.params: Field required")
        names.add(name)
    if call.fault is not None and call.fault.settings["how"] == "validation_failed":
        raise refuse_request("requests.0.params: The request is not valid.")
    batch = Batch(
        id=make_id("msgbatch_"),
        items=[Item(request["custom_id"], request["params"]) for request in requests],
        answer=lambda params: answer_item(call, "/v1/messages", messages, params),
        window_s=call.settings.batch_window_s,
        fault=call.fault,
    )
    find_queue(call).add(batch)
    return _make_answer(_describe(call, batch))


def answer_batch(call: Call) -> Answer:
    """Describe a batch."""
    batch = _find(call)
    find_queue(call).advance(batch)
    return _make_answer(_describe(call, batch))


def cancel_batch(call: Call) -> Answer:
    """Cancel a batch. A finished batch does not change."""
    batch = _find(call)
    find_queue(call).cancel(batch)
    return _make_answer(_describe(call, batch))


def list_batches(call: Call) -> Answer:
    """List the batches, newest first."""
    found = [batch for batch in find_queue(call).batches.values() if "endpoint" not in batch.facts]
    page, has_more = read_page(call.request.query, "after_id", found)
    for batch in page:
        find_queue(call).advance(batch)
    data = [_describe(call, batch) for batch in page]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return _make_answer({"data": data, "has_more": has_more, **ends})


def read_results(call: Call) -> Answer:
    """Return the results of a finished batch."""
    batch = _find(call)
    if not batch.is_over or batch.how == "no_output_file":
        raise Refused(refuse(404, "The results of this batch are not available."))
    return Answer(
        pieces=(batch.write(batch.list_results(), _make_line),),
        content_type="application/x-jsonl",
        headers={"request-id": make_id("req_")},
    )


def _find(call: Call) -> Batch:
    batch = find_queue(call).batches.get(call.names["batch"])
    if batch is None or "endpoint" in batch.facts:
        raise Refused(refuse(404, f"Batch not found: {call.names['batch']}"))
    return batch


def _describe(call: Call, batch: Batch) -> dict[str, Any]:
    host = call.request.headers.get("host", "127.0.0.1")
    is_canceling = batch.state == "cancelling"
    has_results = batch.is_over and batch.how != "no_output_file"
    kinds = ("succeeded", "errored", "canceled", "expired")
    counts = {kind: batch.count(kind) if batch.is_over else 0 for kind in kinds}
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.is_over else "canceling" if is_canceling else "in_progress",
        "request_counts": {"processing": 0 if batch.is_over else len(batch.items), **counts},
        "created_at": _format_time(batch.created_at),
        "expires_at": _format_time(batch.created_at + batch.window_s),
        "ended_at": None if batch.ended_at is None else _format_time(batch.ended_at),
        "cancel_initiated_at": None,
        "archived_at": None,
        "results_url": f"http://{host}/v1/messages/batches/{batch.id}/results" if has_results else None,
    }


def _make_line(result: Result) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": result.kind}
    if result.kind == "succeeded":
        usage = {**result.body.get("usage", {}), "service_tier": "batch"}
        inner["message"] = {**result.body, "usage": usage}
    elif result.kind == "errored":
        error = result.body.get("error", {})
        kind = error.get("type") if str(error.get("type")).endswith("_error") else "api_error"
        if result.status >= 500:
            kind = "api_error"
        shown = {"type": kind, "message": error.get("message", "")}
        inner["error"] = {"type": "error", "error": shown, "request_id": make_id("req_")}
    return {"custom_id": result.name, "result": inner}


def _format_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _make_answer(document: Any) -> Answer:
    return Answer(pieces=(encode(document),), headers={"request-id": make_id("req_")})
