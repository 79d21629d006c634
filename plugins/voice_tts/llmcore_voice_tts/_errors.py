"""What the vendor or the network said, as errors of ours: in words, without the request and without a key."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
from elevenlabs.core.api_error import ApiError  # noqa: TID253 - loaded only when a provider is created

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    TextTooLong,
    Timeout,
    Unavailable,
    VoiceNotFound,
)
from llmcore_voice_tts._http import Patience
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
"""What `detail` says, as its newer `code` or its older `status`. More exact than the HTTP status: quota is a 401."""

_BY_STATUS: Final[Mapping[int, type[ProviderError]]] = {
    401: AuthenticationFailed, 402: QuotaExhausted, 403: AuthenticationFailed, 404: NotFound, 408: Timeout,
    409: Unavailable, 425: Unavailable, 429: RateLimited, 501: BadRequest,
}  # fmt: skip
_MODERATED: Final = "moderation"
_SUCCESSES: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_SERVER_SIDE: Final = 500
_LONGEST: Final = 600
_KEYLIKE: Final = re.compile(r"\bsk[-_]\w{6,}|(?i:bearer)\s+\S+")


class Errors:
    """Makes the errors of one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def failed(self, raised: Exception, patience: Patience, voice: str = "") -> LLMCoreError:
        """Describe what a call raised.

        Args:
            raised: Read, never kept.
            patience: The call's: it knows whether an answer had begun.
            voice: The voice that was asked for.
        """
        if isinstance(raised, LLMCoreError):
            raised.__cause__ = raised.__context__ = raised.__traceback__ = None
            return raised
        if isinstance(raised, ApiError):
            return self._refused(raised, voice)
        return self._on_the_way(raised, begun=patience.begun)

    def _on_the_way(self, raised: Exception, *, begun: bool) -> ProviderError:
        address = self._account.base_url
        if isinstance(raised, TimeoutError):
            return Timeout(f"{address} did not end its answer in time", provider="elevenlabs")
        what = self._scrubbed(f"{type(raised).__name__}: {raised}".removesuffix(": "))
        if isinstance(raised, httpx.TimeoutException):
            did = "fell silent in the middle of its answer" if begun else "did not answer in time"
            return Timeout(f"{address} {did} ({type(raised).__name__})", provider="elevenlabs")
        if isinstance(raised, httpx.DecodingError):
            return MalformedReply(f"the answer cannot be unpacked ({what})", provider="elevenlabs")
        if isinstance(raised, httpx.RequestError | OSError):
            return self._broken_off(what, begun=begun)
        return ProviderError(f"the request failed ({what})", provider="elevenlabs")

    def _broken_off(self, what: str, *, begun: bool) -> ProviderError:
        if begun:
            return IncompleteReply(f"the connection broke inside the answer ({what})", provider="elevenlabs")
        return Unavailable(
            f"{self._account.base_url} cannot be reached ({what})",
            provider="elevenlabs",
            notes=("is base_url right, and is the network there?",),
        )

    def _refused(self, answer: ApiError, voice: str) -> LLMCoreError:
        status, headers = answer.status_code or 0, answer.headers or {}
        if status in _SUCCESSES:
            return MalformedReply(
                f"{self._account.base_url} answered with something that is not what was asked for",
                provider="elevenlabs",
                status=status,
                expected="JSON as the vendor sends it",
                notes=("is base_url right, path included?",),
            )
        if status in _REDIRECTS:
            return ProviderError(
                f"{self._account.base_url} sends its callers elsewhere (status {status}); the key stays here",
                provider="elevenlabs",
                status=status,
                expected="the address that answers itself",
                fix="llmcore config set voice.elevenlabs.base_url URL",
            )
        message, codes = _parts(answer.body)
        said = self._scrubbed(message) if message else f"status {status}, without a word"
        kind = _kind(status, codes, voice)
        if issubclass(kind, VoiceNotFound):
            return VoiceNotFound(f"elevenlabs has no voice {voice!r}: {said}", fix="llmcore voices")
        if issubclass(kind, TextTooLong):
            return TextTooLong(said)
        return self._of_provider(kind, said, status, headers)

    def _of_provider(
        self, kind: type[ProviderError], said: str, status: int, headers: Mapping[str, str]
    ) -> ProviderError:
        expected: str | None = None
        notes: tuple[str, ...] = ()
        if kind is AuthenticationFailed:
            said = f"the key from {self._account.key_source} may not do this: {said}"
            expected = f"a key that {self._account.base_url} accepts for this"
        elif kind is QuotaExhausted:
            notes = ("waiting does not help: the account has no credits left for this",)
        return kind(
            said,
            provider="elevenlabs",
            status=status,
            retry_after=_retry_after(headers),
            request_id=headers.get("request-id"),
            expected=expected,
            notes=notes,
        )

    def _scrubbed(self, text: str) -> str:
        """Return *text* on one line, abridged, and without anything that looks like a key."""
        key = self._account.key()
        if key is not None:
            text = text.replace(key, "…")
        text = _KEYLIKE.sub("…", " ".join(text.split()))
        return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _kind(status: int, codes: tuple[str, ...], voice: str) -> Kind:
    for code in codes:
        if code in _BY_CODE:
            return _BY_CODE[code]
        if code == "invalid_uid" and voice:
            return VoiceNotFound
        if _MODERATED in code:
            return ContentFiltered
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Unavailable if status >= _SERVER_SIDE else BadRequest


def _parts(body: Any) -> tuple[str, tuple[str, ...]]:
    """Return the message and the codes from whatever shape came: `detail` as an object, a list or a text."""
    if isinstance(body, str):
        return ("" if body.lstrip().startswith("<") else body), ()  # a page says nothing to a reader
    if not isinstance(body, Mapping):
        return "", ()
    detail = body.get("detail", body.get("error", body))
    if isinstance(detail, list):
        return "; ".join(_fault(each) for each in detail), ()
    if not isinstance(detail, Mapping):
        return str(detail or ""), ()
    codes = [detail.get(name) for name in ("code", "status", "type")]
    message = detail.get("message")
    return message if isinstance(message, str) else "", tuple(c for c in codes if isinstance(c, str))


def _fault(fault: Any) -> str:
    """Return one finding of the vendor's validator; what was given is left out, for it is the caller's text."""
    if not isinstance(fault, Mapping):
        return str(fault)
    where = ".".join(str(part) for part in fault.get("loc") or ())
    return f"{where}: {fault.get('msg', '')}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, as the headers say in one of three ways."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _number(said)
    if seconds is not None or said is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, IndexError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
