"""What is asked of the vendor beside speech: its voices, its models, clones. Each is written once, for both colours.

A plan is a generator that yields what to ask of the vendor's client, blocking or not, and is sent the answer, or the
error that came in its place. It returns its result or an error, and raises none: the frames of a traceback would hold
what it was given, recordings among it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, TypeVar

from llmcore.errors import LLMCoreError, MalformedReply, VoiceError, VoiceNotFound
from llmcore.types import VoiceInfo, VoiceModel, VoicePage
from llmcore_voice_tts._answers import listed, model_from, voice_from
from llmcore_voice_tts.request import bad, check_filters, checked_voice, language

__all__ = ["Ask", "Plan", "all_voices", "clone", "deletion", "models", "one_voice", "page_of_voices"]

T = TypeVar("T")
Ask = Callable[[Any], Any]
"""Takes the vendor's client and returns its answer, or what is to be awaited for it."""
Plan = Generator[Ask, Any, T | LLMCoreError]

ONCE: Final[Any] = {"max_retries": 0}
"""The host owns retries."""
FILTERS: Final = (
    "accent", "age", "category", "collection_id", "fine_tuning_state", "gender", "high_quality", "language", "sort",
    "sort_direction", "use_cases", "voice_ids", "voice_type",
)  # fmt: skip
_LARGEST_PAGE: Final = 100
_MOST_PAGES: Final = 1_000
_SAMPLE_SIGNS: Final = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\xff", b"\x1aE\xdf\xa3")
_MP4: Final = b"ftyp"


def all_voices() -> Plan[list[VoiceInfo]]:
    """Ask for page after page."""
    found: dict[str, VoiceInfo] = {}
    seen: set[str] = set()
    token: str | None = None
    for _ in range(_MOST_PAGES):
        outcome = yield from _page(None, _LARGEST_PAGE, token, {"sort": "name", "sort_direction": "asc"})
        if isinstance(outcome, LLMCoreError):
            return outcome
        for voice in outcome.voices:
            found.setdefault(voice.voice_id, voice)  # the first page may repeat voices of later ones
        token = outcome.next
        if token is None:
            return list(found.values())
        if token in seen:
            break
        seen.add(token)
    return MalformedReply("elevenlabs lists its voices without an end", provider="elevenlabs")


def page_of_voices(
    query: str | None, limit: int, after: str | None, filters: Mapping[str, Any]
) -> Plan[VoicePage]:
    """Ask for one page."""
    try:
        check_filters(filters, FILTERS)
        filters = {
            **filters,
            **({"language": language(filters["language"])} if filters.get("language") else {}),
        }
    except LLMCoreError as error:
        return error
    if limit < 1:
        return bad(f"`limit` cannot be {limit}", expected=f"1 to {_LARGEST_PAGE}")
    order = {} if {"sort", "sort_direction"} & filters.keys() else {"sort": "name", "sort_direction": "asc"}
    return (yield from _page(query, min(limit, _LARGEST_PAGE), after, {**order, **filters}))


def one_voice(voice_id: str) -> Plan[VoiceInfo]:
    """Ask for one voice."""
    try:
        checked_voice(voice_id)
        outcome = yield lambda sdk: sdk.voices.get(voice_id, request_options=ONCE)
        return outcome if isinstance(outcome, LLMCoreError) else voice_from(outcome)
    except LLMCoreError as error:
        return error


def models() -> Plan[list[VoiceModel]]:
    """Ask for the models that speak."""
    outcome = yield lambda sdk: sdk.models.list(request_options=ONCE)
    if isinstance(outcome, LLMCoreError):
        return outcome
    try:
        speaking = [model for model in listed(outcome, "") if getattr(model, "can_do_text_to_speech", False)]
        return [model_from(model) for model in speaking]
    except (LLMCoreError, AttributeError):
        return MalformedReply("elevenlabs sent no list of models", provider="elevenlabs", status=200)


def clone(
    name: str, samples: Sequence[bytes], consent: str, description: str, labels: Mapping[str, str] | None
) -> Plan[VoiceInfo]:
    """Ask for a voice like that of the recordings. The speaker's agreement is kept beside it, in its description."""
    fault = _unfit(name, samples, consent)
    if fault is not None:
        return fault
    told = f"{description}\n\nConsent: {consent}".strip()
    given = dict(labels or {})
    files = [(f"sample-{number}", sample) for number, sample in enumerate(samples, 1)]
    outcome = yield lambda sdk: sdk.voices.ivc.create(
        name=name, files=files, description=told, labels=given, request_options=ONCE
    )
    if isinstance(outcome, LLMCoreError):
        return outcome
    voice_id = getattr(outcome, "voice_id", None)
    if not isinstance(voice_id, str) or not voice_id:
        return MalformedReply("elevenlabs cloned a voice without an id", provider="elevenlabs", status=200)
    return VoiceInfo(
        voice_id=voice_id, name=name, language=given.get("language"), description=told, labels=given
    )


def deletion(voice_id: str) -> Plan[bool]:
    """Ask for a voice to be deleted."""
    try:
        checked_voice(voice_id)
    except VoiceNotFound:
        return False
    outcome = yield lambda sdk: sdk.voices.delete(voice_id, request_options=ONCE)
    if isinstance(outcome, VoiceNotFound):
        return False
    return outcome if isinstance(outcome, LLMCoreError) else True


def _page(query: str | None, size: int, token: str | None, filters: Mapping[str, Any]) -> Plan[VoicePage]:
    asked = {
        "search": query, "page_size": size, "next_page_token": token, "include_total_count": False, **filters,
    }  # fmt: skip
    outcome = yield lambda sdk: sdk.voices.search(**asked, request_options=ONCE)
    if isinstance(outcome, LLMCoreError):
        return outcome
    try:
        voices = tuple(voice_from(voice) for voice in listed(outcome, "voices"))
    except LLMCoreError as error:
        return error
    following = getattr(outcome, "next_page_token", None) if getattr(outcome, "has_more", False) else None
    return VoicePage(voices=voices, next=following or None)


def _unfit(name: str, samples: Sequence[bytes], consent: str) -> LLMCoreError | None:
    """Return why no voice may be made of this, or None."""
    if not isinstance(consent, str) or not consent.strip():
        return VoiceError(
            "a voice is not cloned without the speaker's consent",
            expected="`consent`: the agreement in words, or where it is kept",
        )
    if not name.strip():
        return VoiceError("a cloned voice needs a name", expected="`name`: how the voice is listed")
    if not samples:
        return VoiceError("there is no recording to clone a voice from", expected="at least one audio file")
    for number, sample in enumerate(samples, 1):
        if not isinstance(sample, bytes) or not (sample.startswith(_SAMPLE_SIGNS) or sample[4:8] == _MP4):
            return VoiceError(
                f"recording {number} is no audio file", expected="wav, mp3, ogg, flac, m4a or webm, as bytes"
            )
    return None
