"""Anthropic's error responses: the JSON format, and default messages for common statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmcore_testing.simulator.openai_common import make_id
from llmcore_testing.simulator.openai_errors import Refused
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["refuse", "refuse_request"]

_KNOWN: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
"""Source: https://platform.claude.com/docs/en/api/errors"""
_NO_CREDIT: Final = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
)


def refuse(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error response. *code* becomes the error's type, such as "overloaded_error"; "" takes the default type."""
    kind, usual = _KNOWN.get(status, ("api_error", f"Simulated status {status}."))
    if code == "insufficient_quota":
        kind, usual = "billing_error", _NO_CREDIT
    elif code and code.endswith("_error"):
        kind = code
    request_id = make_id("req_")
    error = {"type": "error", "error": {"type": kind, "message": message or usual}, "request_id": request_id}
    return Answer(
        status=status, pieces=(encode(error),), headers={"request-id": request_id, **(headers or {})}
    )


def refuse_request(message: str) -> Refused:
    """Return the exception for an invalid request."""
    return Refused(refuse(400, message))
