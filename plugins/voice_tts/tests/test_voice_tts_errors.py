"""Errors of the vendor, read from `detail`: by its code or its older status, which are more exact than the HTTP status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    LLMCoreError,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    TextTooLong,
    Unavailable,
    VoiceNotFound,
)
from llmcore.types import Secret
from llmcore_testing.simulator import Fault, Simulator
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def voice(upstream: Simulator) -> Iterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("k"), base_url=upstream.url))
    yield made
    made.close()


def catch_error(voice: ElevenLabsVoice, upstream: Simulator, fault: Fault) -> LLMCoreError:
    upstream.fail(fault)
    with pytest.raises(LLMCoreError) as caught:
        voice.synthesize("Hello")
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "quota_exceeded", QuotaExhausted),
        (401, "invalid_api_key", AuthenticationFailed),
        (401, "needs_authorization", AuthenticationFailed),
        (401, "missing_permissions", AuthenticationFailed),
        (401, "detected_unusual_activity", AuthenticationFailed),
        (402, "payment_required", QuotaExhausted),
        (429, "too_many_concurrent_requests", RateLimited),
        (429, "rate_limit_exceeded", RateLimited),
        (429, "system_busy", RateLimited),
        (404, "voice_not_found", VoiceNotFound),
        (400, "voice_not_found", VoiceNotFound),
        (400, "invalid_uid", VoiceNotFound),
        (400, "max_character_limit_exceeded", TextTooLong),
        (400, "model_not_found", NotFound),
        (400, "text_blocked_by_moderation", ContentFiltered),
        (400, "something_new", BadRequest),
        (403, "something_new", AuthenticationFailed),
        (418, "something_new", BadRequest),
        (500, "internal_server_error", Unavailable),
    ],
)
def test_a_refusal_is_of_the_kind_that_its_words_say(
    upstream: Simulator, voice: ElevenLabsVoice, status: int, code: str, kind: type[LLMCoreError]
) -> None:
    error = catch_error(voice, upstream, Fault.status(status, code=code))
    assert type(error) is kind
    if isinstance(error, ProviderError):
        assert (error.status, error.provider) == (status, "elevenlabs")
        assert error.request_id


def test_quota_and_key_have_different_classes_though_both_are_401(
    upstream: Simulator, voice: ElevenLabsVoice
) -> None:
    quota = catch_error(voice, upstream, Fault.status(401, code="quota_exceeded"))
    assert "a retry does not help" in str(quota)
    key = catch_error(voice, upstream, Fault.status(401, code="invalid_api_key"))
    assert "[voice.elevenlabs] api_key" in key.message


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"detail": {"status": "quota_exceeded", "message": "none left"}}, QuotaExhausted, "none left"),
        ({"detail": {"code": "quota_exceeded", "message": "none left"}}, QuotaExhausted, "none left"),
        (
            {"detail": {"status": "old", "code": "concurrent_limit_exceeded"}},
            RateLimited,
            "without a message",
        ),
        ({"detail": "just words"}, AuthenticationFailed, "just words"),
        ({"error": {"message": "another shape"}}, AuthenticationFailed, "another shape"),
        ("plain words", AuthenticationFailed, "plain words"),
        ("<p>a page</p>", AuthenticationFailed, "without a message"),
        ([1, 2], AuthenticationFailed, "without a message"),
    ],
)
def test_every_shape_of_a_refusal_is_read(
    upstream: Simulator, voice: ElevenLabsVoice, body: Any, kind: type[LLMCoreError], said: str
) -> None:
    error = catch_error(voice, upstream, Fault.status(401, body=body))
    assert type(error) is kind
    assert said in error.message


def test_a_validation_error_names_the_field_but_not_its_value(
    upstream: Simulator, voice: ElevenLabsVoice
) -> None:
    fault = {
        "type": "missing",
        "loc": ["body", "text"],
        "msg": "Field required",
        "input": "the caller's text",
    }
    error = catch_error(voice, upstream, Fault.status(422, body={"detail": [fault]}))
    assert type(error) is BadRequest
    assert "body.text: Field required" in error.message
    assert "caller" not in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (
            {"retry-after": "Sat, 22 Nov 2098 12:00:30 GMT", "date": "Sat, 22 Nov 2098 12:00:00 GMT"},
            30.0,
        ),
        (
            {"retry-after": "Sat, 22 Nov 2098 12:00:30 -0000", "date": "Sat, 22 Nov 2098 12:00:00 GMT"},
            30.0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
def test_the_pause_that_the_server_asks_for_is_read(
    upstream: Simulator, voice: ElevenLabsVoice, headers: dict[str, str], seconds: float | None
) -> None:
    error = catch_error(voice, upstream, Fault.status(429, headers=headers))
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds
