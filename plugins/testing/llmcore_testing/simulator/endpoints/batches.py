"""The batch endpoints of OpenAI, /v1/batches, and of Azure, /openai/batches: create, describe, list and cancel.

The results of a batch are in files; see the module `files`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from llmcore_testing.simulator import tokens
from llmcore_testing.simulator.batch_queue import (
    Batch,
    Item,
    Result,
    answer_item,
    find_queue,
    read_page,
)
from llmcore_testing.simulator.endpoints.chat import answer_chat
from llmcore_testing.simulator.endpoints.embeddings import answer_embeddings
from llmcore_testing.simulator.endpoints.files import File, add_file, find_file, read_lifetime
from llmcore_testing.simulator.endpoints.responses import answer_responses
from llmcore_testing.simulator.openai_common import make_headers, make_id, read_json_body
from llmcore_testing.simulator.openai_errors import Refused, make_invalid, make_refusal
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["answer_batch", "cancel_batch", "create_batch", "list_batches"]

_ENDPOINTS: Final[Mapping[str, Callable[[Call], Answer]]] = {
    "/v1/chat/completions": answer_chat,
    "/v1/embeddings": answer_embeddings,
    "/v1/responses": answer_responses,
}
_MOST_ITEMS: Final = 50_000
_MOST_BYTES: Final = 200_000_000
_COUNTED: Final = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


def create_batch(call: Call) -> Answer:
    """Accept a batch. As with OpenAI, the lines are validated later, and an invalid line makes the batch fail."""
    body = read_json_body(call)
    endpoint, window = body.get("endpoint"), body.get("completion_window")
    is_azure = call.request.path.startswith("/openai/")
    endpoints = {
        name.removeprefix("/v1") if is_azure else name: answer for name, answer in _ENDPOINTS.items()
    }
    if endpoint not in endpoints:
        raise make_invalid(
            f"Invalid value: '{endpoint}'. Supported values are: {sorted(endpoints)}.", param="endpoint"
        )
    if window != "24h":
        raise make_invalid(
            "Invalid value for 'completion_window': it must be '24h'.", param="completion_window"
        )
    file = find_file(call, str(body.get("input_file_id")))
    metadata = body.get("metadata") or {}
    if len(metadata) > 16 or any(len(str(value)) > 512 for value in metadata.values()):
        raise make_invalid(
            "Invalid 'metadata': at most 16 pairs of at most 512 characters.", param="metadata"
        )
    lifetime_s = read_lifetime((body.get("output_expires_after") or {}).get("seconds"))
    items, errors = _read_items(file, str(endpoint))
    queue = find_queue(call)
    enqueued = sum(tokens.count(encode(item.body).decode()) for item in items)
    most = call.settings.batch_tokens
    if most is not None and queue.count_enqueued() + enqueued > most:
        message = f"Enqueued token limit reached. Limit: {most:,} enqueued tokens. Please try again once some in_progress batches have been completed."
        errors = [{"code": "token_limit_exceeded", "line": None, "message": message, "param": None}]
    batch = Batch(
        id=make_id("batch_"),
        items=items,
        answer=lambda body: answer_item(call, str(endpoint), endpoints[str(endpoint)], body),
        facts={"endpoint": endpoint, "metadata": metadata, "input": file.id, "lifetime_s": lifetime_s},
        window_s=call.settings.batch_window_s,
        fault=call.fault,
        tokens=enqueued,
        errors=errors,
    )
    queue.add(batch)
    return _make_answer(_describe(call, batch))


def answer_batch(call: Call) -> Answer:
    """Describe a batch."""
    batch = _find(call)
    find_queue(call).advance(batch)
    return _make_answer(_describe(call, batch))


def cancel_batch(call: Call) -> Answer:
    """Cancel a batch."""
    batch = _find(call)
    if batch.is_over:
        message = f"Cannot cancel a batch with status '{batch.state}'."
        raise Refused(make_refusal(409, message, code="invalid_status"))
    find_queue(call).cancel(batch)
    return _make_answer(_describe(call, batch))


def list_batches(call: Call) -> Answer:
    """List the batches, newest first."""
    found = [batch for batch in find_queue(call).batches.values() if "endpoint" in batch.facts]
    page, has_more = read_page(call.request.query, "after", found)
    for batch in page:
        find_queue(call).advance(batch)
    data = [_describe(call, batch) for batch in page]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return _make_answer({"object": "list", "data": data, "has_more": has_more, **ends})


def _find(call: Call) -> Batch:
    batch = find_queue(call).batches.get(call.names["batch"])
    if batch is None or "endpoint" not in batch.facts:
        raise Refused(make_refusal(404, f"No batch found with id '{call.names['batch']}'.", code=""))
    return batch


def _read_items(file: File, endpoint: str) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return the items of the input file, and the errors in its lines."""
    items: list[Item] = []
    errors: list[dict[str, Any]] = []
    names: set[str] = set()

    def refuse(code: str, message: str, line: int | None, param: str | None = None) -> None:
        errors.append({"code": code, "message": message, "line": line, "param": param})

    for number, line in enumerate(file.content.splitlines(), 1):
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        name = document.get("custom_id") if isinstance(document, dict) else None
        if not isinstance(document, dict):
            refuse("invalid_json_line", "This line is not parseable as valid JSON.", number)
        elif not isinstance(name, str) or not isinstance(document.get("body"), dict):
            refuse("missing_required_parameter", "Missing 'custom_id' or 'body'.", number, "custom_id")
        elif name in names:
            refuse("duplicate_custom_id", f"The custom_id '{name}' occurs twice.", number, "custom_id")
        elif document.get("url") != endpoint:
            refuse("mismatched_endpoint", f"The url must be '{endpoint}'.", number, "url")
        else:
            names.add(name)
            items.append(Item(name, document["body"]))
    if not items and not errors:
        refuse("empty_file", "The input file contains no requests.", None)
    if len(items) > _MOST_ITEMS or len(file.content) > _MOST_BYTES:
        refuse("input_file_too_large", f"At most {_MOST_ITEMS} requests and {_MOST_BYTES} bytes.", None)
    return items, errors


def _describe(call: Call, batch: Batch) -> dict[str, Any]:
    ended = None if batch.ended_at is None else int(batch.ended_at)
    finals = {
        "completed": "completed_at",
        "failed": "failed_at",
        "expired": "expired_at",
        "cancelled": "cancelled_at",
    }
    if batch.is_over:
        _write_files(call, batch)
    errors = {"object": "list", "data": batch.errors} if batch.state == "failed" else None
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.facts["endpoint"],
        "errors": errors,
        "input_file_id": batch.facts["input"],
        "completion_window": "24h",
        "status": batch.state,
        "output_file_id": batch.facts.get("output"),
        "error_file_id": batch.facts.get("error"),
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at + batch.window_s),
        **{name: ended if state == batch.state else None for state, name in finals.items()},
        "request_counts": {
            "total": len(batch.items),
            "completed": batch.count("succeeded"),
            "failed": batch.count("errored"),
        },
        "usage": _sum_usage(batch),
        "metadata": batch.facts["metadata"] or None,
    }


def _write_files(call: Call, batch: Batch) -> None:
    """Store the results of a finished batch in its output file and its error file. A second call has no effect."""
    if "written" in batch.facts or batch.how == "no_output_file":
        return
    batch.facts["written"] = True
    for field, good in (("output", True), ("error", False)):
        results = [each for each in batch.list_results() if (each.kind == "succeeded") is good]
        if results:
            content = batch.write(results, _make_line)
            file = add_file(
                call, f"{batch.id}_{field}.jsonl", "batch_output", content, batch.facts["lifetime_s"]
            )
            batch.facts[field] = file.id


def _make_line(result: Result) -> dict[str, Any]:
    line = {"id": make_id("batch_req_"), "custom_id": result.name, "response": None, "error": None}
    if result.status:
        response = {"status_code": result.status, "request_id": make_id("req_"), "body": result.body}
        return {**line, "response": response}
    message = {
        "expired": "This request could not be executed before the completion window expired.",
        "canceled": "This request was cancelled before it was executed.",
    }
    code = {"expired": "batch_expired", "canceled": "batch_cancelled"}
    return {**line, "error": {"code": code[result.kind], "message": message[result.kind]}}


def _sum_usage(batch: Batch) -> dict[str, Any] | None:
    """Return the total usage of all answers, or None if the batch has not ended."""
    if not batch.is_over:
        return None
    total = {"input_tokens": 0, "output_tokens": 0}
    for result in batch.results:
        usage = result.body.get("usage") if isinstance(result.body, dict) else None
        for name, value in (usage or {}).items():
            known = _COUNTED.get(name, name)
            if known in total and isinstance(value, int):
                total[known] += value
    return {
        **total,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sum(total.values()),
    }


def _make_answer(document: Any) -> Answer:
    return Answer(pieces=(encode(document),), headers=make_headers(0))
