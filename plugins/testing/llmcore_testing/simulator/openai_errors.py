"""OpenAI's error responses: the JSON format, and default messages for common statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["Refused", "make_invalid", "make_refusal"]

_KNOWN: Final[Mapping[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request is not acceptable."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "forbidden", "You may not do this."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("timeout_error", None, "The request took too long."),
    409: ("invalid_request_error", "conflict", "The request conflicts with another one."),
    413: ("invalid_request_error", None, "The request is too large."),
    429: ("rate_limit_exceeded", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    502: ("server_error", None, "Bad gateway."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
    504: ("server_error", None, "The upstream took too long."),
    529: ("overloaded_error", None, "Overloaded."),
}
_QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."


def make_refusal(
    status: int,
    message: str | None = None,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return an error response. Omitted arguments take OpenAI's values for *status*."""
    kind, usual_code, usual_message = _KNOWN.get(
        status, ("server_error", None, f"Simulated status {status}.")
    )
    if code == "insufficient_quota":
        kind, usual_message = code, _QUOTA
    error = {
        "message": message or usual_message,
        "type": kind,
        "param": param,
        "code": code if code is not None else usual_code,
    }
    return Answer(status=status, pieces=(encode({"error": error}),), headers=headers or {})


class Refused(Exception):
    """The request is invalid. `answer` is the error response."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def make_invalid(message: str, *, param: str | None = None, code: str | None = None) -> Refused:
    """Return the exception for an invalid request."""
    error: dict[str, Any] = {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    return Refused(Answer(status=400, pieces=(encode({"error": error}),)))
