"""Choose the class of an error by its codes, then its status, then its message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore_openai_optimized.error_report import ErrorReport

__all__ = ["classify", "is_context_length"]

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthenticationFailed, 402: QuotaExhausted, 403: AuthenticationFailed, 404: NotFound, 405: NotFound,
    407: Unavailable, 408: Timeout, 409: Unavailable, 410: NotFound, 424: Unavailable, 425: Unavailable,
    429: RateLimited, 498: Unavailable, 499: Unavailable, 501: BadRequest,
}  # fmt: skip
"""405: the address is wrong. 409: the server could not get a lock in time.

The vendor's SDK retries status 409. 424: generation failed (text-generation-inference). 498: the flex tier of Groq is full.
"""

_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    # no money or quota left
    "insufficient_quota": QuotaExhausted,
    "insufficient_balance": QuotaExhausted,
    "insufficient_credits": QuotaExhausted,
    "billing_error": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "exceeded_current_quota_error": QuotaExhausted,
    "budget_exceeded": QuotaExhausted,
    "payment_required": QuotaExhausted,
    "arrearage": QuotaExhausted,
    "servicequotaexceededexception": QuotaExhausted,
    "1113": QuotaExhausted,  # z.AI
    "1008": QuotaExhausted,  # MiniMax
    # too many requests
    "rate_limit_error": RateLimited,
    "rate_limit_reached_error": RateLimited,
    "throttling_error": RateLimited,
    "throttlingexception": RateLimited,
    "too_many_requests_error": RateLimited,
    "resource_exhausted": RateLimited,
    "1302": RateLimited,  # z.AI
    "1002": RateLimited,  # MiniMax
    # the key
    "invalid_api_key": AuthenticationFailed,
    "api_key_invalid": AuthenticationFailed,
    "invalidapikey": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "invalid_authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "permission_denied": AuthenticationFailed,
    "unauthenticated": AuthenticationFailed,
    "unauthorized": AuthenticationFailed,
    "forbidden": AuthenticationFailed,
    "accessdeniedexception": AuthenticationFailed,
    "auth_error": AuthenticationFailed,  # LiteLLM
    "expired_key": AuthenticationFailed,
    "key_model_access_denied": AuthenticationFailed,
    "team_model_access_denied": AuthenticationFailed,
    "token_not_found_in_db": AuthenticationFailed,
    # LiteLLM without a database sends this for every key except its master key
    "no_db_connection": AuthenticationFailed,
    "1004": AuthenticationFailed,  # MiniMax
    # the model or the address
    "model_not_found": NotFound,
    "model_not_available": NotFound,
    "model_decommissioned": NotFound,
    "deploymentnotfound": NotFound,
    "not_found_error": NotFound,
    "resource_not_found_error": NotFound,
    "resourcenotfoundexception": NotFound,
    # the content policy
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "contentpolicyviolationerror": ContentFiltered,
    "responsibleaipolicyviolation": ContentFiltered,
    "data_inspection_failed": ContentFiltered,
    "datainspectionfailed": ContentFiltered,
    "1301": ContentFiltered,  # z.AI
    # the context length
    "context_length_exceeded": BadRequest,
    "context_window_exceeded": BadRequest,
    "contextwindowexceedederror": BadRequest,
    "exceed_context_size_error": BadRequest,  # llama.cpp, with status 400 or 500
    "model_context_window_exceeded": BadRequest,
    "validationexception": BadRequest,
    # the server
    "overloaded_error": Unavailable,
    "engine_overloaded_error": Unavailable,
    "queue_exceeded": Unavailable,
    "unavailable": Unavailable,
    "modelnotreadyexception": Unavailable,
    "deadline_exceeded": Timeout,
}
"""Code or type in lower case -> error class. This class takes precedence over that of the status, which is less specific."""

_VAGUE: Final[Mapping[str, type[ProviderError]]] = {
    "rate_limit_exceeded": RateLimited,
    "ratelimiterror": RateLimited,
    "too_many_requests": RateLimited,
    "invalid_request_error": BadRequest,
    "invalid_request": BadRequest,
    "invalid_argument": BadRequest,
    "failed_precondition": BadRequest,
    "out_of_range": BadRequest,
    "unimplemented": BadRequest,
    "badrequesterror": BadRequest,
    "badrequest": BadRequest,
    "unprocessableentityerror": BadRequest,
    "validation_error": BadRequest,
    "authenticationerror": AuthenticationFailed,
    "permissiondeniederror": AuthenticationFailed,
    "not_found": NotFound,
    "notfounderror": NotFound,
    "notfound": NotFound,
    "timeout": Timeout,
    "timeout_error": Timeout,
    "apitimeouterror": Timeout,
    "server_error": Unavailable,
    "internal": Unavailable,
    "internal_error": Unavailable,
    "internal_server_error": Unavailable,
    "internalservererror": Unavailable,
    "serviceunavailableerror": Unavailable,
}
"""Code or type -> error class, used only for errors without a status. Servers send these codes and types with several
statuses, and the status is then more specific.
"""

_CONTEXT_CODES: Final = frozenset(
    {"context_length_exceeded", "context_window_exceeded", "contextwindowexceedederror",
     "exceed_context_size_error", "model_context_window_exceeded"}
)  # fmt: skip
_CONTEXT_WORDS: Final = re.compile(
    r"contextwindowexceeded|maximum context length|context[ _](?:length|window|size)[^.]{0,40}exceed"
    r"|exceeds?[^.]{0,60}\bcontext (?:length|window|size)|exceed_context_size|prompt is too long",
    re.IGNORECASE,
)
"""Messages for a prompt that is too long. LiteLLM names this error only in the message: its code is "400", and its type
is null.
"""

_KEY_WORDS: Final = re.compile(r"(?:incorrect|invalid) api key|no connected db", re.IGNORECASE)
"""Messages of xAI and LiteLLM for a wrong key, with status 400 instead of 401."""

_NO_ENDPOINT: Final = re.compile(r"unexpected endpoint", re.IGNORECASE)
"""LM Studio's message, with status 200, for an unknown path."""

_SERVER_SIDE: Final = 500


def classify(report: ErrorReport, status: int | None) -> type[ProviderError]:
    """Return the class of the error.

    Args:
        report: The error document.
        status: The HTTP status; None if an answer with a success status contains the error. A status in the
            document takes precedence.
    """
    for code in report.codes:
        if code in _BY_CODE:
            return _BY_CODE[code]
    kind = _classify_status(report.status or status)
    if kind is None:
        kind = next((_VAGUE[code] for code in report.codes if code in _VAGUE), Unavailable)
    if kind in {BadRequest, Unavailable}:
        if is_context_length(report):
            return BadRequest
        if _KEY_WORDS.match(report.message):
            return AuthenticationFailed
        if _NO_ENDPOINT.search(report.message):
            return NotFound
    return kind


def is_context_length(report: ErrorReport) -> bool:
    """Return whether the request exceeds the context length of the model."""
    return not _CONTEXT_CODES.isdisjoint(report.codes) or bool(_CONTEXT_WORDS.search(report.message))


def _classify_status(status: int | None) -> type[ProviderError] | None:
    if status is None or status in _BY_STATUS:
        return None if status is None else _BY_STATUS[status]
    return Unavailable if status >= _SERVER_SIDE else BadRequest
