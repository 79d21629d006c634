"""What the server or the network said, as errors of ours: in words, without the request and without a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import msgspec

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    IncompleteReply,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore_openai_optimized._rate_limits import rate_limits
from llmcore_openai_optimized._retry_after import retry_after
from llmcore_openai_optimized.account import Account

__all__ = ["Answered", "Errors"]

Headers = Mapping[str, str]

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthenticationFailed, 402: QuotaExhausted, 403: AuthenticationFailed, 404: NotFound, 408: Timeout,
    409: Unavailable, 410: NotFound, 425: Unavailable, 429: RateLimited, 498: Unavailable, 501: BadRequest,
}  # fmt: skip
"""409 is a lock that the server could not get in time: the vendor's own SDK tries it again. 498 is Groq's word for a tier
that is full."""

_BY_CODE: Final[Mapping[str, type[ProviderError]]] = {
    "insufficient_quota": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "model_not_found": NotFound,
    "deploymentnotfound": NotFound,
    "invalid_api_key": AuthenticationFailed,
    "api_key_invalid": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "not_found_error": NotFound,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "responsibleaipolicyviolation": ContentFiltered,
    "context_length_exceeded": BadRequest,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "overloaded_error": Unavailable,
    "server_error": Unavailable,
    "invalid_request_error": BadRequest,
}
"""Codes and types, in lower case. They are more exact than the status, and all there is inside a stream."""

_VAGUE: Final = frozenset({"rate_limit_exceeded", "server_error", "invalid_request_error"})
"""Codes and types that stand beside many statuses: believed only where there is no status."""

_FORBIDDEN: Final = 403
_REDIRECTS: Final = range(300, 400)
_REFUSALS: Final = range(400, 600)
_SERVER_SIDE: Final = 500

_LONGEST: Final = 600

_KEY_REFUSED: Final = re.compile(r"(?:incorrect|invalid) api key", re.IGNORECASE)
"""How xAI says with status 400 what others say with 401."""

_KEYLIKE: Final = re.compile(
    r"\S*\*{3,}\S*"  # how the vendor abridges a key that it repeats
    r"|(?<=key provided: )\S+"
    r"|\b(?:sk|pk|rk|sess|key)[-_][\w\-]{6,}"
    r"|(?i:bearer)\s+\S+"
    r"|\b[A-Za-z0-9+/]{40,}={0,2}"
)


class Answered(Exception):
    """Carries an error of ours out of the code that reads an answer."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.message)
        self.error = error


_NO_CONNECTION: Final = frozenset(
    {
        "ClientConnectorError",
        "ConnectError",
        "ConnectTimeout",
        "ConnectionRefusedError",
        "PoolTimeout",
        "gaierror",
    }
)
"""Names of what is raised while there is no connection yet, so that nothing can have been billed."""


class Errors:
    """Makes the errors of one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def refused(self, status: int, headers: Headers, body: bytes, model: str) -> ProviderError:
        """Describe an answer with another status than 200."""
        if status in _REDIRECTS:
            return ProviderError(
                f"{self._account.shown_url} sends its callers elsewhere (status {status}); the key stays here",
                provider="openai",
                status=status,
                expected="the address that answers itself",
                fix="llmcore config set llm.openai.base_url URL",
            )
        return self._told(_document(body), status, headers, model)

    def reported(
        self, document: Any, headers: Headers, model: str, partial: str | None = None
    ) -> ProviderError:
        """Describe an error that came inside an answer with status 200."""
        inner = document.get("error") if isinstance(document, Mapping) else None
        code = inner.get("code") if isinstance(inner, Mapping) else None
        code = int(code) if isinstance(code, str) and code.isascii() and code.isdecimal() else code
        status = code if isinstance(code, int) and code in _REFUSALS else None
        error = self._told(document, status, headers, model)
        error.partial = partial
        return error

    def failed(self, raised: Exception, *, begun: bool) -> ProviderError:
        """Describe what the HTTP client raised.

        Args:
            raised: Read, never kept.
            begun: Whether the head of the answer had arrived.
        """
        if isinstance(raised, Answered):
            return raised.error
        failure = self._described(raised, begun=begun)
        failure.sent = not _found_nobody(raised)
        return failure

    def _described(self, raised: Exception, *, begun: bool) -> ProviderError:
        address = self._account.shown_url
        if isinstance(raised, TimeoutError):
            return Timeout(f"{address} fell silent, or did not end its answer in time", provider="openai")
        what = self.scrubbed(f"{type(raised).__name__}: {raised}".removesuffix(": "))
        if isinstance(raised, httpx2.TimeoutException) and not _is_no_timeout(raised.__cause__):
            did = "fell silent in the middle of its answer" if begun else "did not answer in time"
            return Timeout(f"{address} {did} ({type(raised).__name__})", provider="openai")
        if isinstance(raised, httpx2.DecodingError):
            return MalformedReply(f"the answer cannot be unpacked ({what})", provider="openai")
        # EndOfStream is anyio's, which the HTTP client lets through when TLS ends early.
        if isinstance(raised, httpx2.RequestError | OSError) or type(raised).__name__ == "EndOfStream":
            return self._broken_off(what, begun=begun)
        return ProviderError(f"the request failed ({what})", provider="openai")

    def _broken_off(self, what: str, *, begun: bool) -> ProviderError:
        if begun:
            return IncompleteReply(f"the connection broke inside the answer ({what})", provider="openai")
        return Unavailable(
            f"{self._account.shown_url} cannot be reached ({what})",
            provider="openai",
            notes=("is base_url right, and is the network there?",),
        )

    def malformed(
        self, what: str, headers: Headers, *, partial: str | None = None, expected: str = ""
    ) -> MalformedReply:
        """Describe an answer that is none."""
        kind = headers.get("content-type", "").partition(";")[0].strip()
        page = "html" in kind
        return MalformedReply(
            f"{self._account.shown_url} answered with {what}",
            provider="openai",
            status=200,
            partial=partial,
            request_id=_request_id(headers),
            expected=expected or "a chat completion as JSON",
            notes=("a page for people came back: is base_url right, path included?",) if page else (),
        )

    def incomplete(self, what: str, headers: Headers, partial: str | None) -> IncompleteReply:
        """Describe an answer that ended before its end."""
        return IncompleteReply(what, provider="openai", partial=partial, request_id=_request_id(headers))

    def scrubbed(self, text: str) -> str:
        """Return *text* on one line, abridged, and without anything that looks like a key."""
        if self._account.key is not None:
            text = text.replace(self._account.key.reveal(), "…")
        text = _KEYLIKE.sub("…", " ".join(text.split()))
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"

    def _told(self, document: Any, status: int | None, headers: Headers, model: str) -> ProviderError:
        message, codes = _parts(document)
        kind = _kind(status, codes)
        if kind is BadRequest and _KEY_REFUSED.match(message):
            kind = AuthenticationFailed
        said = self.scrubbed(message) if message else f"status {status}, without a word"
        notes: tuple[str, ...] = ()
        fix = expected = None
        if kind is AuthenticationFailed:
            did = "may not do this" if status == _FORBIDDEN else "was not accepted"
            said = f"the key from {self._account.key_source} {did}: {said}"
            expected = f"a key that {self._account.shown_url} accepts for this"
        elif kind is NotFound:
            said = f"{self._account.shown_url} does not find it: {said}"
            notes = (f"the model asked for is `{self.scrubbed(model)}`",)
            fix = "llmcore models"
        elif kind is QuotaExhausted:
            notes = ("waiting does not help: the account has no quota left",)
        elif "context_length_exceeded" in codes:
            notes = ("the conversation is longer than the model can read: shorten it, or take another model",)
        error = kind(
            said,
            provider="openai",
            status=status,
            retry_after=retry_after(headers),
            request_id=_request_id(headers),
            expected=expected,
            notes=notes,
            fix=fix,
        )
        if isinstance(error, RateLimited):
            error.limits = rate_limits(headers)
        return error


def _is_no_timeout(cause: BaseException | None) -> bool:
    """Whether the SDK's transport over aiohttp has called a timeout what was a lost connection."""
    return isinstance(cause, OSError) and not isinstance(cause, TimeoutError)


def _kind(status: int | None, codes: tuple[str, ...]) -> type[ProviderError]:
    for code in codes:
        if code in _BY_CODE and (status is None or code not in _VAGUE):
            return _BY_CODE[code]
    if status is None:
        return Unavailable
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Unavailable if status >= _SERVER_SIDE else BadRequest


def _parts(document: Any) -> tuple[str, tuple[str, ...]]:
    """Return the message and the codes, the most exact first, from whatever shape the server chose."""
    if isinstance(document, list) and len(document) == 1:  # how Gemini's door for this protocol refuses
        document = document[0]
    if isinstance(document, str):
        return document, ()
    if not isinstance(document, Mapping):
        return "", ()
    error = document.get("error", document)
    if isinstance(error, str):
        return str(document.get("message") or error), ()
    if not isinstance(error, Mapping):
        return "", ()
    message = error.get("message") or error.get("detail") or ""
    inner = error.get("innererror")
    found = [
        *_reasons(error.get("details")),
        inner.get("code") if isinstance(inner, Mapping) else None,
        error.get("code"),
        error.get("type"),
    ]
    codes = tuple(str(each).lower() for each in found if isinstance(each, str | int))
    return message if isinstance(message, str) else msgspec.json.encode(message).decode(), codes


def _reasons(details: Any) -> list[Any]:
    """Return what Google adds to its statuses, which are vague."""
    parts = details if isinstance(details, list) else ()
    return [part.get("reason") for part in parts if isinstance(part, Mapping)]


def _document(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = body.decode(errors="replace")
    return "" if text.lstrip().startswith("<") else text  # a page of markup says nothing to a reader


def _request_id(headers: Headers) -> str | None:
    return headers.get("x-request-id") or headers.get("apim-request-id")


def _found_nobody(raised: BaseException) -> bool:
    """Return whether there was no connection. The first cause decides: aiohttp's transport calls a reset a ConnectTimeout."""
    cause = raised
    while cause.__cause__ is not None and not isinstance(cause.__cause__, TimeoutError):
        cause = cause.__cause__
    return type(cause).__name__ in _NO_CONNECTION
