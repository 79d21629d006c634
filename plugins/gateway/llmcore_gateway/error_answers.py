"""Convert errors to answers in the format of the called API."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetError,
    BudgetExceeded,
    ConfigError,
    ContentFiltered,
    IncompleteReply,
    LedgerError,
    LLMCoreError,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    TextTooLong,
    Timeout,
    Unavailable,
    VoiceError,
    VoiceNotFound,
)
from llmcore_gateway.http_messages import Answer, encode

__all__ = [
    "ErrorDetails",
    "Refused",
    "describe_error",
    "is_internal",
    "make_answer",
    "make_event",
]

_NO_RETRY: Final = {"x-should-retry": "false"}
"""The header that stops the vendors' clients from retrying a 429."""


class ErrorDetails(NamedTuple):
    """An error as the client sees it."""

    status: int
    kind: str
    """OpenAI's name of the kind: invalid_request_error, ..."""
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = {}


class Refused(Exception):
    """The gateway refuses a request before the request reaches the Core."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.details = ErrorDetails(status, kind, code or kind, message, param, headers or {})


_FAULTS: Final[tuple[tuple[type[LLMCoreError], int, str], ...]] = (
    (BadRequest, 400, "invalid_request_error"),
    (ContentFiltered, 400, "content_filter"),
    (NotFound, 404, "not_found_error"),
    (RateLimited, 429, "rate_limit_error"),
    (QuotaExhausted, 429, "insufficient_quota"),
    (BudgetError, 429, "budget_exceeded"),
    (Timeout, 504, "timeout_error"),
    (AuthenticationFailed, 502, "upstream_error"),
    (IncompleteReply, 502, "upstream_error"),
    (MalformedReply, 502, "upstream_error"),
    (Unavailable, 503, "overloaded_error"),
    (VoiceNotFound, 404, "not_found_error"),
    (TextTooLong, 400, "invalid_request_error"),
    (VoiceError, 400, "invalid_request_error"),
    (ProviderError, 502, "upstream_error"),
)
"""Error class -> status and kind. The first class that matches is used.

If the vendor rejects the gateway's own key, the client is not at fault, so the status is 502 and not 401.
"""

_ANTHROPIC_KINDS: Final = {
    "authentication_error": "authentication_error",
    "content_filter": "invalid_request_error",
    "insufficient_quota": "rate_limit_error",
    "server_error": "api_error",
    "upstream_error": "api_error",
}
"""OpenAI's name of a kind -> Anthropic's name, if the names differ."""


def describe_error(error: BaseException) -> ErrorDetails:
    """Return *error* as the client sees it.

    The result has the message. If a budget was exceeded, the message also names a call that would still fit.
    `where` and `fix` are left out, because they are for the operator.
    """
    if isinstance(error, Refused):
        return error.details
    if not isinstance(error, LLMCoreError):
        return ErrorDetails(500, "server_error", "LC000", "the gateway failed; its log has the details")
    if is_internal(error):
        status, part = (500, "configuration") if isinstance(error, ConfigError) else (503, "ledger")
        message = f"the {part} of the gateway has a fault; its log has the details"
        return ErrorDetails(status, "server_error", error.code, message)
    status, kind = next(
        ((status, kind) for known, status, kind in _FAULTS if isinstance(error, known)), (500, "server_error")
    )
    headers: dict[str, str] = {}
    message = error.message
    if isinstance(error, BudgetExceeded):
        message += f"; expected: {error.expected}"
    if isinstance(error, BudgetError | QuotaExhausted):
        headers.update(_NO_RETRY)
    if isinstance(error, BudgetExceeded) and error.resets_at:
        left = calendar.timegm(time.strptime(error.resets_at, "%Y-%m-%dT%H:%M:%SZ")) - time.time()
        headers["retry-after"] = str(max(1, math.ceil(left)))
    elif isinstance(error, ProviderError) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return ErrorDetails(status, kind, error.code, message, error.where if status == 400 else None, headers)  # noqa: PLR2004


def is_internal(error: BaseException) -> bool:
    """Return whether *error* is a fault of the gateway itself. Such a fault is logged but not shown to clients."""
    if isinstance(error, ConfigError | LedgerError) or type(error) is BudgetError:
        return True  # a plain BudgetError means that the ledger cannot be written
    return not isinstance(error, Refused | LLMCoreError)


def _make_document(details: ErrorDetails, api: str, request_id: str) -> dict[str, Any]:
    """Return the body of an error in the format of *api*."""
    if api == "messages":
        kind = _ANTHROPIC_KINDS.get(details.kind, details.kind)
        return {
            "type": "error",
            "error": {"type": kind, "message": details.message, "code": details.code},
            "request_id": request_id,
        }
    error = {"message": details.message, "type": details.kind, "param": details.param, "code": details.code}
    return {"error": error}


def make_answer(details: ErrorDetails, api: str, request_id: str) -> Answer:
    """Return the answer that reports *details*."""
    return Answer(details.status, encode(_make_document(details, api, request_id)), details.headers)


def make_event(details: ErrorDetails, api: str, request_id: str, number: int) -> bytes:
    """Return *details* as the last event of a stream that has begun, after *number* events."""
    document = _make_document(details, api, request_id)
    if api == "messages":
        return b"event: error\ndata: " + encode(document) + b"\n\n"
    if api == "responses":
        error = document["error"]
        event = {"type": "error", "sequence_number": number}
        event.update((name, error[name]) for name in ("code", "message", "param"))
        return b"event: error\ndata: " + encode(event) + b"\n\n"
    return b"data: " + encode(document) + b"\n\n"
