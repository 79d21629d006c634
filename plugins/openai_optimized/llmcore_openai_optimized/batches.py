"""The bodies and documents of OpenAI's Batch API. This module does no I/O.

Sources, read 2026-11: https://platform.openai.com/docs/api-reference/batch,
https://learn.microsoft.com/rest/api/azureopenai/batch/create
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import httpx2
import msgspec

from llmcore.errors import BadRequest, ProviderError
from llmcore.types import BatchFault, BatchLimits, BatchRequest, BatchResult, BatchStatus, ChatRequest
from llmcore_openai_optimized.chat_reader import ChatReader
from llmcore_openai_optimized.chat_translation import TranslatedReader, TranslatedRequest
from llmcore_openai_optimized.errors import AnswerError, Errors
from llmcore_openai_optimized.responses_reader import ResponsesReader
from llmcore_openai_optimized.wire import encode

__all__ = [
    "FORM_TYPE",
    "LIMITS",
    "encode_creation",
    "encode_upload",
    "find_result_files",
    "read_listing",
    "read_result",
    "read_status",
]

LIMITS: Final = BatchLimits(max_requests=50_000, max_bytes=200_000_000)
"""The vendor also limits the enqueued tokens of an account, and rejects a batch beyond this limit.

The limit is not checked here, because it differs between accounts.
"""
_BOUNDARY: Final = secrets.token_hex(24)
FORM_TYPE: Final = f"multipart/form-data; boundary={_BOUNDARY}"
_ENDPOINTS: Final = {"chat": "/chat/completions", "responses": "/responses"}
_RUNNING: Final = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_NOT_DONE: Final = frozenset({"batch_expired", "batch_cancelled"})
_TEMPORARY: Final = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})
_LIFETIME_S: Final = 2_592_000
_NO_HEADERS: Final = httpx2.Headers()


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw
    request_id: str | None = None


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_decode_line: Final = msgspec.json.Decoder(_Line).decode


def encode_upload(requests: Sequence[BatchRequest], *, azure: bool = False) -> tuple[bytes, str]:
    """Return the form that uploads *requests* as a file, and their common endpoint. An endpoint of Azure has no `/v1`.

    Raises:
        BadRequest: A request cannot be encoded, or the requests have different endpoints.
    """
    endpoints = {f"{'' if azure else '/v1'}{_ENDPOINTS[each.request.api]}" for each in requests}
    if len(endpoints) != 1:
        raise BadRequest(
            "all requests of a batch must have the same endpoint", expected=" or ".join(_ENDPOINTS.values())
        )
    (endpoint,) = endpoints
    head = (
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="llmcore.jsonl"\r\n'
        "content-type: application/jsonl\r\n\r\n"
    )
    parts = [head.encode()]
    for each in requests:
        front = f'{{"custom_id":"{each.id}","method":"POST","url":"{endpoint}","body":'
        parts += (front.encode(), encode(each.request, stream=False), b"}\n")
    parts.append(f"\r\n--{_BOUNDARY}--\r\n".encode())
    return b"".join(parts), endpoint


def encode_creation(file: str, endpoint: str, metadata: Mapping[str, str], *, azure: bool = False) -> bytes:
    """Return the body that creates a batch from an uploaded file.

    Results at OpenAI expire after 30 days; results on Azure do not expire.
    """
    lifetime = {"output_expires_after": {"anchor": "created_at", "seconds": _LIFETIME_S}}
    return msgspec.json.encode(
        {
            "input_file_id": file,
            "endpoint": endpoint,
            "completion_window": "24h",
            "metadata": dict(metadata),
            **({} if azure else lifetime),
        }
    )


def read_status(document: Any, errors: Errors) -> BatchStatus | ProviderError:
    """Return the status in a document that describes a batch, or the error."""
    try:
        state = document["status"]
        counts = document.get("request_counts") or {}
        return BatchStatus(
            id=str(document["id"]),
            state="running" if state in _RUNNING else "refused" if state == "failed" else "ended",
            created_at=float(document["created_at"]),
            expires_at=document.get("expires_at"),
            total=counts.get("total") or None,
            answered=counts.get("completed"),
            faults=_read_faults(document.get("errors")) if state == "failed" else (),
            metadata={str(name): str(value) for name, value in (document.get("metadata") or {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    return errors.make_malformed("a document that is not a batch", _NO_HEADERS, expected="a batch as JSON")


def read_listing(document: Any, errors: Errors) -> tuple[list[BatchStatus], str | None] | ProviderError:
    """Return the batches of one page and the id after which the next page begins, or the error."""
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        return errors.make_malformed("a document that is not a list of batches", _NO_HEADERS)
    found: list[BatchStatus] = []
    for each in data:
        status = read_status(each, errors)
        if isinstance(status, ProviderError):
            return status
        found.append(status)
    return found, found[-1].id if found and document.get("has_more") else None


def find_result_files(document: Any) -> list[str]:
    """Return the ids of the files with the results and with the errors."""
    names = ("output_file_id", "error_file_id")
    return [document[name] for name in names if isinstance(document, dict) and document.get(name)]


def read_result(line: bytes, requests: Mapping[str, ChatRequest], errors: Errors) -> BatchResult | None:
    """Return the result in one line of a file; None if the line cannot be read, or its request is not in *requests*."""
    try:
        found = _decode_line(line)
    except ValueError:
        return None
    request = requests.get(found.custom_id)
    if request is None:
        return None
    if found.response is None or found.response.status_code == 0:
        code = found.error.code if found.error is not None else None
        if code in _NOT_DONE:
            return BatchResult(id=found.custom_id)
        report = {"error": {"code": code, "message": found.error.message if found.error else None}}
        return BatchResult(id=found.custom_id, error=errors.from_document(report, _NO_HEADERS, request.model))
    response = found.response
    kind: type[ChatReader | ResponsesReader] = ChatReader
    if request.api == "responses":
        kind = TranslatedReader if isinstance(request, TranslatedRequest) else ResponsesReader
    reader = kind(request, _NO_HEADERS, errors, response.status_code)
    try:
        reader.feed(bytes(response.body))
        reader.end()
    except AnswerError as error:
        return BatchResult(id=found.custom_id, error=error.error)
    reply = msgspec.structs.replace(reader.make_reply(), service_tier="batch", request_id=response.request_id)
    return BatchResult(id=found.custom_id, reply=reply)


def _read_faults(errors: Any) -> list[BatchFault]:
    data: Iterable[Any] = errors.get("data") or () if isinstance(errors, Mapping) else ()
    return [
        BatchFault(
            message=str(each.get("message") or ""),
            code=str(each.get("code") or ""),
            index=each["line"] - 1 if isinstance(each.get("line"), int) else None,
            is_temporary=each.get("code") in _TEMPORARY,
        )
        for each in data
    ]
