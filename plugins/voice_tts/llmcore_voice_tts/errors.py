"""Translate answers and exceptions to errors of llmcore, without the request and without a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from elevenlabs.core.api_error import ApiError  # noqa: TID253 - loaded only when a provider is created

from llmcore.errors import (
    AuthenticationFailed,
    ContentFiltered,
    LLMCoreError,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    TextTooLong,
    VoiceNotFound,
)
from llmcore.support.http import (
    RequestDeadline,
    classify_status,
    parse_retry_after,
    scrub,
    translate_http_error,
    was_sent,
)
from llmcore_voice_tts.account import Account

__all__ = ["Errors"]

Kind = type[ProviderError] | type[VoiceNotFound] | type[TextTooLong]

_BY_CODE: Final[Mapping[str, Kind]] = {
    "quota_exceeded": QuotaExhausted,
    "insufficient_credits": QuotaExhausted,
    "payment_required": QuotaExhausted,
    "payment_issue": QuotaExhausted,
    "invalid_api_key": AuthenticationFailed,
    "needs_authorization": AuthenticationFailed,
    "missing_permissions": AuthenticationFailed,
    "detected_unusual_activity": AuthenticationFailed,
    "too_many_concurrent_requests": RateLimited,
    "concurrent_limit_exceeded": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "system_busy": RateLimited,
    "voice_not_found": VoiceNotFound,
    "max_character_limit_exceeded": TextTooLong,
    "text_too_long": TextTooLong,
    "model_not_found": NotFound,
}
"""Value of `code`, or of the older `status`, in `detail` -> the class of the error.

These values are more specific than the HTTP status: an exhausted quota, for example, has the status 401, like a wrong
key.
"""

_MODERATED: Final = "moderation"
_SUCCESSES: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_API_PATH: Final = re.compile(r"/v\d+(?:/.*)?$")
"""Matches a path such as /v1 at the end of `base_url`. The vendor's client adds the path again, so requests fail."""


class Errors:
    """Make the errors for one account."""

    def __init__(self, account: Account, proxy: str = "") -> None:
        """Make errors for *account*. *proxy* is the address of the proxy without secrets; empty without a proxy."""
        self._account = account
        self._proxy = proxy

    def translate_error(
        self, raised: BaseException, deadline: RequestDeadline, voice: str = ""
    ) -> LLMCoreError:
        """Return the error for an exception of a call.

        Args:
            raised: The exception. The error does not refer to the exception.
            deadline: The deadline of the call. The deadline records whether an answer has begun.
            voice: The requested voice.
        """
        if isinstance(raised, LLMCoreError):
            raised.__cause__ = raised.__context__ = raised.__traceback__ = None
            return raised
        if isinstance(raised, ApiError):
            return self._make_refusal(raised, voice)
        error = translate_http_error(
            raised,
            provider="elevenlabs",
            address=self._account.base_url,
            text=self._scrub(f"{type(raised).__name__}: {raised}".removesuffix(": ")),
            begun=deadline.begun,
            proxy=self._proxy,
        )
        error.sent = was_sent(raised)
        return error

    def _make_address_fix(self) -> str | None:
        """Return the command that removes a path of the API from the address; None if the address has no such path."""
        corrected = _API_PATH.sub("", self._account.base_url)
        if corrected == self._account.base_url:
            return None
        return f"llmcore config set voice.elevenlabs.base_url {corrected}"

    def _make_refusal(self, answer: ApiError, voice: str) -> LLMCoreError:
        status, headers = answer.status_code or 0, answer.headers or {}
        if status in _SUCCESSES:
            return MalformedReply(
                f"{self._account.base_url} answered with an unexpected document",
                provider="elevenlabs",
                status=status,
                expected="JSON of the vendor's API",
                notes=("check base_url and its path",),
                fix=self._make_address_fix(),
            )
        if status in _REDIRECTS:
            return ProviderError(
                f"{self._account.base_url} redirects to another address (status {status}); the key was not sent there",
                provider="elevenlabs",
                status=status,
                expected="the address of the server itself, without a redirect",
                fix="llmcore config set voice.elevenlabs.base_url URL",
            )
        message, codes = _read_parts(answer.body)
        said = self._scrub(message) if message else f"status {status} without a message"
        kind = _choose_class(status, codes, voice)
        if issubclass(kind, VoiceNotFound):
            return VoiceNotFound(f"elevenlabs has no voice {voice!r}: {said}", fix="llmcore voices")
        if issubclass(kind, TextTooLong):
            return TextTooLong(said)
        return self._make_provider_error(kind, said, status, headers)

    def _make_provider_error(
        self, kind: type[ProviderError], said: str, status: int, headers: Mapping[str, str]
    ) -> ProviderError:
        expected: str | None = None
        fix: str | None = None
        notes: tuple[str, ...] = ()
        if kind is AuthenticationFailed:
            said = f"the key from {self._account.key_source} was rejected or lacks the permission: {said}"
            expected = f"a key that {self._account.base_url} accepts for this request"
        elif kind is NotFound and (fix := self._make_address_fix()):
            said = f"{self._account.base_url} has no such endpoint: {said}"
            notes = (
                "`base_url` is probably wrong: requests go to paths below it, such as /v1/text-to-speech",
            )
        elif kind is QuotaExhausted:
            notes = ("the account has not enough credits; a retry does not help",)
        return kind(
            said,
            provider="elevenlabs",
            status=status,
            retry_after=parse_retry_after(headers),
            request_id=headers.get("request-id"),
            expected=expected,
            notes=notes,
            fix=fix,
        )

    def _scrub(self, text: str) -> str:
        """Return *text* as one short line, without texts that look like keys."""
        return scrub(text, self._account.find_key())


def _choose_class(status: int, codes: tuple[str, ...], voice: str) -> Kind:
    for code in codes:
        if code in _BY_CODE:
            return _BY_CODE[code]
        if code == "invalid_uid" and voice:
            return VoiceNotFound
        if _MODERATED in code:
            return ContentFiltered
    return classify_status(status)


def _read_parts(body: Any) -> tuple[str, tuple[str, ...]]:
    """Return the message and the codes of a body with `detail` as an object, a list or a text."""
    if isinstance(body, str):
        return ("" if body.lstrip().startswith("<") else body), ()  # HTML is not a message
    if not isinstance(body, Mapping):
        return "", ()
    detail = body.get("detail", body.get("error", body))
    if isinstance(detail, list):
        return "; ".join(_format_fault(each) for each in detail), ()
    if not isinstance(detail, Mapping):
        return str(detail or ""), ()
    codes = [detail.get(name) for name in ("code", "status", "type")]
    message = detail.get("message")
    return message if isinstance(message, str) else "", tuple(c for c in codes if isinstance(c, str))


def _format_fault(fault: Any) -> str:
    """Return one validation error without its input, because the input is the caller's text."""
    if not isinstance(fault, Mapping):
        return str(fault)
    where = ".".join(str(part) for part in fault.get("loc") or ())
    return f"{where}: {fault.get('msg', '')}"
