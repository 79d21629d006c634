"""Voices, models and clones. Each request is written once, for sync and async.

A plan is a generator. A plan yields a function that calls the vendor's client, and receives the answer or the error.
A plan returns its result or an error and never raises, because the frames of a traceback would hold its arguments,
such as recordings.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, TypeVar

from llmcore.errors import LLMCoreError, MalformedReply, VoiceError, VoiceNotFound
from llmcore.types import VoiceInfo, VoiceModel, VoicePage
from llmcore_voice_tts.answers import get_list, make_voice_info, make_voice_model
from llmcore_voice_tts.request import check_filters, check_language, check_voice, make_bad_request

__all__ = [
    "ONCE",
    "Ask",
    "Plan",
    "clone_voice",
    "delete_voice",
    "get_voice",
    "list_models",
    "list_voices",
    "search_voices",
]

T = TypeVar("T")
Ask = Callable[[Any], Any]
"""A function that gets the vendor's client, makes one request, and returns the answer or an awaitable."""
Plan = Generator[Ask, Any, T | LLMCoreError]

ONCE: Final[Any] = {"max_retries": 0}
"""Options of a request that the vendor's client must not retry, because the host retries."""
_FILTERS: Final = (
    "accent", "age", "category", "collection_id", "fine_tuning_state", "gender", "high_quality", "language", "sort",
    "sort_direction", "use_cases", "voice_ids", "voice_type",
)  # fmt: skip
_LARGEST_PAGE: Final = 100
_MOST_PAGES: Final = 1_000
_SAMPLE_SIGNS: Final = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\xff", b"\x1aE\xdf\xa3")
_MP4: Final = b"ftyp"


def list_voices() -> Plan[list[VoiceInfo]]:
    """Request all pages."""
    found: dict[str, VoiceInfo] = {}
    seen: set[str] = set()
    token: str | None = None
    for _ in range(_MOST_PAGES):
        outcome = yield from _request_page(
            None, _LARGEST_PAGE, token, {"sort": "name", "sort_direction": "asc"}
        )
        if isinstance(outcome, LLMCoreError):
            return outcome
        for voice in outcome.voices:
            # A voice of the first page may occur again on a later page.
            found.setdefault(voice.voice_id, voice)
        token = outcome.next
        if token is None:
            return list(found.values())
        if token in seen:
            break
        seen.add(token)
    return MalformedReply("the list of voices of elevenlabs has no end", provider="elevenlabs")


def search_voices(
    query: str | None, limit: int, after: str | None, filters: Mapping[str, Any]
) -> Plan[VoicePage]:
    """Request one page."""
    try:
        check_filters(filters, _FILTERS)
        filters = {
            **filters,
            **({"language": check_language(filters["language"])} if filters.get("language") else {}),
        }
    except LLMCoreError as error:
        return error
    if limit < 1:
        return make_bad_request(f"limit must be at least 1, got {limit}", expected=f"1 to {_LARGEST_PAGE}")
    order = {} if {"sort", "sort_direction"} & filters.keys() else {"sort": "name", "sort_direction": "asc"}
    return (yield from _request_page(query, min(limit, _LARGEST_PAGE), after, {**order, **filters}))


def get_voice(voice_id: str) -> Plan[VoiceInfo]:
    """Request one voice."""
    try:
        check_voice(voice_id)
        outcome = yield lambda sdk: sdk.voices.get(voice_id, request_options=ONCE)
        return outcome if isinstance(outcome, LLMCoreError) else make_voice_info(outcome)
    except LLMCoreError as error:
        return error


def list_models() -> Plan[list[VoiceModel]]:
    """Request the speech models."""
    outcome = yield lambda sdk: sdk.models.list(request_options=ONCE)
    if isinstance(outcome, LLMCoreError):
        return outcome
    try:
        speaking = [
            model for model in get_list(outcome, "") if getattr(model, "can_do_text_to_speech", False)
        ]
        return [make_voice_model(model) for model in speaking]
    except (LLMCoreError, AttributeError):
        return MalformedReply(
            "the answer of elevenlabs has no list of models", provider="elevenlabs", status=200
        )


def clone_voice(
    name: str, samples: Sequence[bytes], consent: str, description: str, labels: Mapping[str, str] | None
) -> Plan[VoiceInfo]:
    """Request a voice that sounds like the recordings.

    The text of the speaker's consent is added to the description of the voice.
    """
    fault = _find_clone_fault(name, samples, consent)
    if fault is not None:
        return fault
    full_description = f"{description}\n\nConsent: {consent}".strip()
    known_labels = dict(labels or {})
    files = [(f"sample-{number}", sample) for number, sample in enumerate(samples, 1)]
    outcome = yield lambda sdk: sdk.voices.ivc.create(
        name=name, files=files, description=full_description, labels=known_labels, request_options=ONCE
    )
    if isinstance(outcome, LLMCoreError):
        return outcome
    voice_id = getattr(outcome, "voice_id", None)
    if not isinstance(voice_id, str) or not voice_id:
        return MalformedReply(
            "elevenlabs cloned the voice, but its answer has no id", provider="elevenlabs", status=200
        )
    return VoiceInfo(
        voice_id=voice_id,
        name=name,
        language=known_labels.get("language"),
        description=full_description,
        labels=known_labels,
    )


def delete_voice(voice_id: str) -> Plan[bool]:
    """Delete a voice."""
    try:
        check_voice(voice_id)
    except VoiceNotFound:
        return False
    outcome = yield lambda sdk: sdk.voices.delete(voice_id, request_options=ONCE)
    if isinstance(outcome, VoiceNotFound):
        return False
    return outcome if isinstance(outcome, LLMCoreError) else True


def _request_page(
    query: str | None, size: int, token: str | None, filters: Mapping[str, Any]
) -> Plan[VoicePage]:
    parameters = {
        "search": query, "page_size": size, "next_page_token": token, "include_total_count": False, **filters,
    }  # fmt: skip
    outcome = yield lambda sdk: sdk.voices.search(**parameters, request_options=ONCE)
    if isinstance(outcome, LLMCoreError):
        return outcome
    try:
        voices = tuple(make_voice_info(voice) for voice in get_list(outcome, "voices"))
    except LLMCoreError as error:
        return error
    following = getattr(outcome, "next_page_token", None) if getattr(outcome, "has_more", False) else None
    return VoicePage(voices=voices, next=following or None)


def _find_clone_fault(name: str, samples: Sequence[bytes], consent: str) -> LLMCoreError | None:
    """Return the error for an argument that is not valid; None if a voice can be cloned with these arguments."""
    if not isinstance(consent, str) or not consent.strip():
        return VoiceError(
            "`consent` must state the agreement of the speaker, got nothing",
            expected="`consent`: the agreement in words, or where it is kept",
        )
    if not name.strip():
        return VoiceError("name must not be empty", expected="`name`: how the voice is listed")
    if not samples:
        return VoiceError(
            "samples must have at least one recording, got none", expected="at least one audio file"
        )
    for number, sample in enumerate(samples, 1):
        if not isinstance(sample, bytes) or not _is_recording(sample):
            return VoiceError(
                f"recording {number} is not an audio file",
                expected="wav, mp3, ogg, flac, m4a or webm, as bytes",
            )
    return None


def _is_recording(sample: bytes) -> bool:
    if sample.startswith(codecs.BOM_UTF16_LE):  # UTF-16 text, which begins with 0xFF as an MP3 frame does
        return False
    return sample.startswith(_SAMPLE_SIGNS) or sample[4:8] == _MP4
