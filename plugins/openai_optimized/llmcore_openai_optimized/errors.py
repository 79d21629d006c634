"""Translate responses and exceptions to errors of llmcore.

An error keeps no reference to the request or to the client's exception, and its text is stripped of keys.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urljoin

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    IncompleteReply,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from llmcore.support.http import scrub, translate_http_error, was_sent
from llmcore.support.retry_after import parse_retry_after
from llmcore_openai_optimized.account import Account
from llmcore_openai_optimized.error_classes import classify, is_context_length
from llmcore_openai_optimized.error_report import ErrorReport, parse_body, read_error
from llmcore_openai_optimized.rate_limits import read_rate_limits
from llmcore_openai_optimized.url_correction import correct_url, strip_endpoint

__all__ = ["AnswerError", "Errors"]

Headers = Mapping[str, str]

_FORBIDDEN: Final = 403
_PROXY_CREDENTIALS: Final = 407
_NOT_MODIFIED: Final = 304
_REDIRECTS: Final = range(300, 400)
_REFUSALS: Final = 400


class AnswerError(Exception):
    """Raised by the code that reads an answer. The caller takes the llmcore error from `error`."""

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.message)
        self.error = error


class Errors:
    """Make the errors for one account."""

    def __init__(self, account: Account, proxy: str = "") -> None:
        """Make errors for *account*.

        *proxy* is the address of the proxy without its credentials; an empty text means no proxy.
        """
        self._account = account
        self._proxy = proxy

    def from_status(self, status: int, headers: Headers, body: bytes, model: str) -> ProviderError:
        """Return the error for an answer with a status other than 2xx."""
        if status in _REDIRECTS and status != _NOT_MODIFIED:
            return self._make_redirect_error(status, headers)
        if status < _REFUSALS:
            return self.make_malformed(f"status {status} in place of an answer", headers, status=status)
        document = parse_body(body)
        return self._make_from_report(read_error(document), status, headers, model, page=_is_page(headers))

    def from_document(
        self, document: Any, headers: Headers, model: str, partial: str | None = None
    ) -> ProviderError:
        """Return the error in a document that was received with a success status; see `error_report.is_error`."""
        error = self._make_from_report(read_error(document), None, headers, model, page=False)
        error.partial = partial
        return error

    def translate_error(self, raised: Exception, *, begun: bool) -> ProviderError:
        """Return the error for an exception of the HTTP client.

        Args:
            raised: The exception. The error does not refer to the exception.
            begun: True if the response headers have arrived.
        """
        if isinstance(raised, AnswerError):
            return raised.error
        failure = translate_http_error(
            raised,
            provider=self._account.vendor.name,
            address=self._account.shown_url,
            text=self.scrub(f"{type(raised).__name__}: {raised}".removesuffix(": ")),
            begun=begun,
            proxy=self._proxy,
        )
        failure.sent = was_sent(raised)
        if not failure.sent and self._account.vendor.start and not self._proxy:
            failure.fix = failure.fix or self._account.vendor.start
        return failure

    def make_malformed(
        self,
        what: str,
        headers: Headers,
        *,
        partial: str | None = None,
        expected: str = "",
        status: int = 200,
    ) -> MalformedReply:
        """Return the error for an unreadable answer."""
        page = _is_page(headers)
        return MalformedReply(
            f"{self._account.shown_url} answered with {what}",
            provider=self._account.vendor.name,
            status=status,
            partial=partial,
            request_id=_get_request_id(headers),
            expected=expected or "a chat completion as JSON",
            notes=("the answer is an HTML page: check base_url and its path",) if page else (),
            fix=self._make_address_fix() if page else None,
        )

    def make_incomplete(self, what: str, headers: Headers, partial: str | None) -> IncompleteReply:
        """Return the error for a truncated answer."""
        return IncompleteReply(
            f"{self._account.shown_url}: {what}",
            provider=self._account.vendor.name,
            partial=partial,
            request_id=_get_request_id(headers),
        )

    def scrub(self, text: str) -> str:
        """Return *text* on one line, shortened, and without any text that looks like a key."""
        return scrub(text, self._account.key.reveal() if self._account.key else None)

    def _make_from_report(
        self, report: ErrorReport, status: int | None, headers: Headers, model: str, *, page: bool
    ) -> ProviderError:
        kind = classify(report, status)
        words = self.scrub(report.message)
        said = f"{self._account.shown_url} {_describe_answer(report, status)}" + (
            f": {words}" if words else ""
        )
        notes: list[str] = []
        fix = expected = None
        if status == _PROXY_CREDENTIALS:
            said = (
                f"the proxy {self._proxy or 'in front of the server'} requires credentials: {words or status}"
            )
        elif kind is AuthenticationFailed:
            did = "lacks the permission" if status == _FORBIDDEN else "was rejected"
            said = f"the key from {self._account.key_source} {did}: {said}"
            fix = self._suggest_key()
            expected = f"a key that {self._account.shown_url} accepts for this request"
            if "no_db_connection" in report.codes:
                notes.append("a LiteLLM proxy without a database accepts only its master key")
        elif kind is NotFound:
            said, notes, fix = self._describe_not_found(report, said, model)
        elif kind is QuotaExhausted:
            notes.append("the account has no quota left; a retry does not help")
        elif is_context_length(report):
            notes.append("messages and answer together exceed the context length of the model")
            expected = "a shorter conversation, a smaller max_tokens=, or a model with a larger context"
            fix = "chat(messages=messages[:1] + messages[1:][-4:])"
        if page and fix is None and (fix := self._make_address_fix()):
            notes.append("the answer is an HTML page: check base_url and its path")
        error = kind(
            said,
            provider=self._account.vendor.name,
            status=status or report.status,
            retry_after=_find_first_known(parse_retry_after(headers), report.retry_after),
            request_id=_get_request_id(headers),
            where=self.scrub(report.parameter) if report.parameter and kind is BadRequest else None,
            expected=expected,
            notes=notes,
            fix=fix,
        )
        if isinstance(error, RateLimited):
            error.limits = read_rate_limits(headers)
        return error

    def _describe_not_found(
        self, report: ErrorReport, said: str, model: str
    ) -> tuple[str, list[str], str | None]:
        """Return message, notes and fix of a 404, caused by the model or by the address."""
        name = self._account.url_option
        fix = self._make_address_fix()
        if _mentions_model(report, model) or not (fix or model):
            fix = None
        elif fix is not None:
            return (
                f"no such endpoint: {said}",
                [f"`{name}` is probably wrong: requests go to paths below it, such as /chat/completions"],
                fix,
            )
        get_model = self._account.vendor.get_model
        if get_model and model and _mentions_model(report, model) and self.scrub(model) == model:
            return said, [], get_model.format(model=shlex.quote(model))
        notes = [f"the requested model is `{self.scrub(model)}`"] if model else []
        if not _mentions_model(report, model):
            notes.append(f"or `{name}` is wrong: requests go to paths below it, such as /chat/completions")
        return (
            said,
            notes,
            "llmcore models" if model else None,
        )

    def _make_redirect_error(self, status: int, headers: Headers) -> ProviderError:
        target = strip_endpoint(urljoin(f"{self._account.base_url}/", headers.get("location", "")))
        shown = self.scrub(target)
        known = target.startswith("http") and shown == target and target != self._account.shown_url
        return ProviderError(
            f"{self._account.shown_url} redirects to another address (status {status}); the key was not sent there",
            provider=self._account.vendor.name,
            status=status,
            expected="the address of the server itself, without a redirect",
            fix=self._account.make_url_fix(target if known else "URL"),
        )

    def _suggest_key(self) -> str | None:
        """Return the command that sets another key, if the key came from a variable.

        In all other cases, the host adds the fix.
        """
        source = self._account.key_source
        return f"export {source}={self._account.vendor.example_key}" if source.isidentifier() else None

    def _make_address_fix(self) -> str | None:
        """Return the command that corrects the address; None if the address needs no correction."""
        account = self._account
        corrected = correct_url(
            account.azure_endpoint or account.base_url, azure=bool(account.azure_endpoint)
        )
        return None if corrected is None else account.make_url_fix(corrected)


def _describe_answer(report: ErrorReport, status: int | None) -> str:
    """Return a phrase such as "answered with status 404"."""
    if status is not None:
        return f"answered with status {status}" + ("" if report.message else " and no message")
    inside = "reported an error inside its answer"
    if report.status is not None:
        return f"{inside} (status {report.status})"
    codes = ", ".join(report.codes[:3])
    return inside if report.message else f"{inside} without a message{f' ({codes})' if codes else ''}"


def _mentions_model(report: ErrorReport, model: str) -> bool:
    words = report.message.lower()
    return (
        any("model" in code or "deployment" in code for code in report.codes)
        or "model" in words
        or bool(model and re.search(rf"(?<![\w.-]){re.escape(model.lower())}(?![\w-])", words))
    )


def _is_page(headers: Headers) -> bool:
    return "html" in headers.get("content-type", "").partition(";")[0]


def _find_first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _get_request_id(headers: Headers) -> str | None:
    return headers.get("x-request-id") or headers.get("apim-request-id")
