"""Choose the class of an error by the codes in the server's answer and by its HTTP status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)

__all__ = ["classify_status"]

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthenticationFailed, 402: QuotaExhausted, 403: AuthenticationFailed, 404: NotFound, 405: NotFound,
    407: Unavailable, 408: Timeout, 409: Unavailable, 410: NotFound, 424: Unavailable, 425: Unavailable,
    429: RateLimited, 498: Unavailable, 499: Unavailable, 501: BadRequest,
}  # fmt: skip
"""Status -> the class of the error.

A server answers 405 to a POST at a wrong address, and 409 if it could not get a lock in time; the SDKs of OpenAI and
Anthropic retry 409. text-generation-inference answers 424 if a generation failed, and Groq answers 498 if a service
tier has no capacity.
"""
_SERVER_SIDE: Final = 500


def classify_status(
    status: int, codes: Iterable[str] = (), by_code: Mapping[str, type[ProviderError]] | None = None
) -> type[ProviderError]:
    """Return the class of the error to raise.

    Args:
        status: The HTTP status of the answer, 400 or greater.
        codes: The codes and types in the answer, the most exact first. The codes take precedence over the status.
        by_code: The vendor's codes, each with its class.
    """
    for code in codes:
        if by_code and code in by_code:
            return by_code[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Unavailable if status >= _SERVER_SIDE else BadRequest
