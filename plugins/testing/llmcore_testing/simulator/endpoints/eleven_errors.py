"""ElevenLabs' error responses. `detail` is an object with `code` and `status`, or a list for an invalid body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator.openai_common import make_id
from llmcore_testing.simulator.openai_errors import Refused
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["make_eleven_refusal", "make_error", "make_validation_error"]

_USUAL: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "invalid_api_key",
    403: "missing_permissions",
    404: "voice_not_found",
    429: "too_many_concurrent_requests",
    503: "system_busy",
}

_KNOWN: Final[Mapping[str, tuple[str, str, str]]] = {
    "bad_request": ("invalid_request", "bad_request", "The request is not acceptable."),
    "internal_server_error": (
        "internal_error",
        "internal_server_error",
        "An error occurred while processing.",
    ),
    "invalid_api_key": ("authentication_error", "unauthorized", "Invalid API key"),
    "invalid_uid": ("invalid_request", "bad_request", "An invalid ID has been received."),
    "max_character_limit_exceeded": ("invalid_request", "text_too_long", "The text is too long."),
    "missing_permissions": (
        "authorization_error",
        "missing_permissions",
        "The API key you used is missing a permission to execute this operation.",
    ),
    "needs_authorization": (
        "authentication_error",
        "unauthorized",
        "Neither authorization header nor xi-api-key received, please provide one.",
    ),
    "quota_exceeded": (
        "authentication_error",
        "quota_exceeded",
        "This request exceeds your quota of 10000. You have 0 credits remaining, while more are required.",
    ),
    "rate_limit_exceeded": ("rate_limit_error", "rate_limit_exceeded", "Too many requests."),
    "system_busy": (
        "rate_limit_error",
        "system_busy",
        "We are sorry, the system is experiencing heavy traffic, please try again.",
    ),
    "too_many_concurrent_requests": (
        "rate_limit_error",
        "concurrent_limit_exceeded",
        "Too many concurrent requests. Your current subscription is associated with a maximum of 2 concurrent requests.",
    ),
    "voice_not_found": ("not_found", "voice_not_found", "A voice with that voice_id was not found."),
}
"""Value of `status` -> the `type`, the `code` and the default message."""


def make_eleven_refusal(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error response. *code* becomes the `status` in `detail`, such as "quota_exceeded"."""
    old = code if code is not None else _USUAL.get(status, "internal_server_error")
    old = old or "needs_authorization"
    kind, new, usual = _KNOWN.get(old, ("invalid_request", old, f"Simulated {old}."))
    request_id = make_id("")
    detail = {"type": kind, "code": new, "message": message or usual, "status": old, "request_id": request_id}
    told = {"request-id": request_id, **(headers or {})}
    return Answer(status=status, pieces=(encode({"detail": detail}),), headers=told)


def make_error(status: int, code: str, message: str | None = None) -> Refused:
    """Return the exception for a request that ElevenLabs rejects."""
    return Refused(make_eleven_refusal(status, message, code=code))


def make_validation_error(kind: str, name: str, said: str, given: Any = None) -> Refused:
    """Return the exception for a body that fails validation."""
    fault = {"type": kind, "loc": ["body", name], "msg": said, "input": given}
    return Refused(Answer(status=422, pieces=(encode({"detail": [fault]}),)))
