"""Translate error answers and network failures to errors of llmcore, without the request and without keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import anthropic  # noqa: TID253 - loaded only when a provider is created
import msgspec

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.support.http import classify_status, parse_retry_after, scrub, translate_http_error, was_sent
from llmcore_anthropic.options import KEY_VARIABLE, Account
from llmcore_anthropic.usage import read_limits

__all__ = ["Errors", "Headers", "get_request_id"]

Headers = Mapping[str, str]

_BY_TYPE: Final[Mapping[str, type[ProviderError]]] = {
    "invalid_request_error": BadRequest,
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "billing_error": QuotaExhausted,
    "not_found_error": NotFound,
    "request_too_large": BadRequest,
    "rate_limit_error": RateLimited,
    "timeout_error": Timeout,
    "gateway_timeout_error": Timeout,
    "api_error": Unavailable,
    "overloaded_error": Unavailable,
}
"""Type of error -> class. Source: https://platform.claude.com/docs/en/api/errors"""
_NO_CREDIT: Final = re.compile(r"credit balance is too low|usage limit", re.IGNORECASE)
"""Matches the message for an account without credit. The server sends it with status 400, as for an invalid request."""
_TOO_LONG: Final = re.compile(
    r"prompt is too long|exceed[^.]{0,40}context|context (?:window|limit)", re.IGNORECASE
)
_PARAMETER: Final = re.compile(r"([a-z_]+)(?:[.\d\w]*)?: ")
_REDIRECTS: Final = range(300, 400)


class Errors:
    """Makes the errors of one account."""

    def __init__(self, account: Account, proxy: str = "") -> None:
        """Make errors for *account*. *proxy* is the address of the proxy without its password; empty for no proxy."""
        self._account = account
        self._proxy = proxy

    def scrub(self, text: str) -> str:
        """Return *text* on one line, shortened, without keys."""
        return scrub(text, None if self._account.key is None else self._account.key.reveal())

    def translate_error(self, raised: BaseException, *, begun: bool, model: str = "") -> LLMCoreError:
        """Return the error for an exception of the SDK or of the HTTP client.

        Args:
            raised: The exception. The error does not refer to the exception.
            begun: True if the head of the answer had arrived.
            model: The requested model.
        """
        if isinstance(raised, anthropic.APIStatusError):
            return self.from_answer(
                raised.response.status_code, raised.response.headers, raised.response.content, model
            )
        if isinstance(raised, anthropic.APIConnectionError) and raised.__cause__ is not None:
            raised = raised.__cause__
        if isinstance(raised, LLMCoreError):
            return raised
        text = self.scrub(f"{type(raised).__name__}: {raised}".removesuffix(": "))
        error = translate_http_error(
            raised,
            provider="anthropic",
            address=self._account.base_url,
            text=text,
            begun=begun,
            proxy=self._proxy,
        )
        error.sent = was_sent(raised)
        return error

    def from_answer(self, status: int, headers: Headers, body: bytes, model: str = "") -> ProviderError:
        """Return the error for an answer with a status other than 200."""
        if status in _REDIRECTS:
            return ProviderError(
                f"{self._account.base_url} redirects (status {status}); the key is not sent to another server",
                provider="anthropic",
                status=status,
                expected="the address of the server itself",
                fix=self._account.make_url_fix("URL"),
            )
        try:
            document = msgspec.json.decode(body.decode(errors="replace"))
        except (ValueError, RecursionError):
            document = None
        return self._make_from_document(document, status, headers, model)

    def from_event(self, document: Any, headers: Headers, partial: str, model: str = "") -> ProviderError:
        """Return the error for an `error` event within a stream."""
        error = self._make_from_document(document, None, headers, model)
        error.partial = partial
        return error

    def make_malformed(self, what: str, headers: Headers, *, partial: str | None = None) -> MalformedReply:
        """Return the error for an answer with status 200 that is not a message."""
        is_page = "html" in headers.get("content-type", "")
        return MalformedReply(
            f"{self._account.base_url} answered with {what}",
            provider="anthropic",
            status=200,
            partial=partial,
            request_id=get_request_id(headers),
            expected="a message as JSON",
            notes=("the answer is a web page: check base_url, including its path",) if is_page else (),
        )

    def make_incomplete(self, headers: Headers, partial: str) -> IncompleteReply:
        """Return the error for an incomplete answer."""
        return IncompleteReply(
            f"{self._account.base_url}: the answer ended before its last event",
            provider="anthropic",
            partial=partial,
            request_id=get_request_id(headers),
        )

    def _make_from_document(
        self, document: Any, status: int | None, headers: Headers, model: str
    ) -> ProviderError:
        kind, message = _read_error(document)
        chosen = classify_status(status or 500, [kind], _BY_TYPE)
        words = self.scrub(message)
        if chosen is BadRequest and _NO_CREDIT.search(message):
            chosen = QuotaExhausted
        did = "reported an error within its answer" if status is None else f"answered with status {status}"
        what = f"{self._account.base_url} {did}" + (f": {words}" if words else "")
        details = self._find_details(chosen, what, words, model)
        error = chosen(
            details.pop("message"),
            provider="anthropic",
            status=status,
            retry_after=parse_retry_after(headers),
            request_id=get_request_id(headers),
            **details,
        )
        if isinstance(error, RateLimited):
            error.limits = read_limits(headers)
        return error

    def _find_details(self, chosen: type[ProviderError], what: str, words: str, model: str) -> dict[str, Any]:
        if chosen is AuthenticationFailed:
            source = self._account.key_source
            return {
                "message": f"the key from {source} was refused: {what}",
                "expected": f"a key that {self._account.base_url} accepts",
                "fix": f"export {KEY_VARIABLE}=sk-ant-..." if source == KEY_VARIABLE else None,
            }
        if chosen is QuotaExhausted:
            return {"message": what, "notes": ("waiting does not help: the account has no credit left",)}
        if chosen is NotFound and model:
            note = f"the requested model is `{self.scrub(model)}`"
            return {"message": what, "notes": (note,), "fix": "llmcore models"}
        if chosen is BadRequest and _TOO_LONG.search(words):
            return {
                "message": what,
                "notes": ("the conversation and the answer together exceed the context of the model",),
                "expected": "a shorter conversation, or a model with a larger context",
                "fix": "chat(messages=messages[:1] + messages[1:][-4:])",
            }
        if chosen is BadRequest and (match := _PARAMETER.match(words)):
            return {"message": what, "where": match[1]}
        return {"message": what}


def get_request_id(headers: Headers) -> str | None:
    """Return the vendor's id of the request."""
    return headers.get("request-id") or headers.get("x-request-id")


def _read_error(document: Any) -> tuple[str, str]:
    """Return the type and the message of an error document; empty texts if the document has none."""
    error = document.get("error") if isinstance(document, Mapping) else None
    if isinstance(error, str):
        return "", error
    if not isinstance(error, Mapping):
        return "", ""
    kind, message = error.get("type"), error.get("message")
    return kind if isinstance(kind, str) else "", message if isinstance(message, str) else ""
