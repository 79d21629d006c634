"""What was received, as llmcore's own values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from llmcore.contracts.voice_answers import Ear, mended_wav
from llmcore.errors import MalformedReply
from llmcore.types import Speech, VoiceInfo, VoiceModel
from llmcore_voice_tts.models import credits_cost
from llmcore_voice_tts.request import SpeechRequest

__all__ = ["model_from", "speech_from", "timed_speech", "voice_from"]

Alignment = tuple[tuple[str, float, float], ...]


def speech_from(
    audio: bytes, headers: Mapping[str, str], text: str, request: SpeechRequest, alignment: Alignment = ()
) -> Speech:
    """Return the speech that came.

    Raises:
        NotAudio: The file cannot be played.
        IncompleteReply: A part of it is missing.
    """
    duration = request.format.duration_s(audio)
    if request.format.kind == "wav":
        audio, duration = mended_wav(audio, "elevenlabs")
    characters, cost = _billed(headers, text, request)
    return Speech(
        audio=audio,
        format=request.format.kind,
        sample_rate_hz=request.format.sample_rate_hz,
        duration_s=duration,
        characters=characters,
        cost=cost,
        voice=request.voice,
        model=request.model,
        provider="elevenlabs",
        alignment=alignment,
        request_id=headers.get("request-id"),
    )


def timed_speech(answer: Any, headers: Mapping[str, str], text: str, request: SpeechRequest) -> Speech:
    """Return the speech within JSON, with the moment of every character.

    Raises:
        MalformedReply: A part is missing, or the moments are of another text.
        NotAudio: The file cannot be played.
    """
    encoded = getattr(answer, "audio_base_64", None)
    try:
        audio = base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        audio = None
    if audio is None:
        raise _malformed("audio that cannot be decoded")
    ear = Ear({"content-length": str(len(audio))}, request.format.kind, "elevenlabs")
    ear.hear(audio)
    ear.end()
    return speech_from(audio, headers, text, request, _aligned(getattr(answer, "alignment", None), text))


def voice_from(voice: Any) -> VoiceInfo:
    """Return what the vendor tells of a voice.

    Raises:
        MalformedReply: It has no id.
    """
    voice_id = getattr(voice, "voice_id", None)
    if not isinstance(voice_id, str) or not voice_id:
        raise _malformed("a voice without an id")
    labels = getattr(voice, "labels", None)
    told = {str(name): str(value) for name, value in labels.items()} if isinstance(labels, Mapping) else {}
    category = getattr(voice, "category", None)
    if category:
        told.setdefault("category", str(category))
    verified = getattr(voice, "verified_languages", None) or [None]
    language = (
        told.get("language") or getattr(verified[0], "locale", None) or getattr(verified[0], "language", None)
    )
    return VoiceInfo(
        voice_id=voice_id,
        name=getattr(voice, "name", None) or voice_id,
        language=language,
        description=getattr(voice, "description", None) or None,
        labels=told,
    )


def model_from(model: Any) -> VoiceModel:
    """Return what the vendor tells of a model."""
    limit = getattr(model, "maximum_text_length_per_request", None)
    languages = getattr(model, "languages", None) or ()
    return VoiceModel(
        model_id=str(model.model_id),
        name=getattr(model, "name", None) or "",
        max_characters=limit or getattr(model, "max_characters_request_subscribed_user", None) or None,
        languages=tuple(str(language.language_id) for language in languages),
        description=getattr(model, "description", None) or None,
    )


def listed(answer: Any, name: str) -> Sequence[Any]:
    """Return the list *name* of an answer, or the answer itself where it is to be one.

    Raises:
        MalformedReply: There is none.
    """
    found = getattr(answer, name, None) if name else answer
    if not isinstance(found, list):
        raise _malformed(f"no list of {name or 'models'}")
    return found


def _billed(headers: Mapping[str, str], text: str, request: SpeechRequest) -> tuple[int, Decimal | None]:
    """Return the characters, and their cost in USD, both by the credits that the vendor says it has taken."""
    each = request.limits.credits_per_character
    try:
        taken = Decimal(headers.get("character-cost", ""))
    except InvalidOperation:
        taken = Decimal(-1)
    if not taken.is_finite() or taken < 0:
        return len(text), None if each is None else credits_cost(request.model, each * len(text))
    characters = len(text)
    if each is not None and abs(taken - each * characters) > 1:  # beyond what rounding explains
        characters = int(taken / each)
    return characters, credits_cost(request.model, taken)


def _aligned(alignment: Any, text: str) -> Alignment:
    """Return the moments of every character of *text*; one that the vendor leaves out takes no time."""
    characters = getattr(alignment, "characters", None) or []
    starts = getattr(alignment, "character_start_times_seconds", None) or []
    ends = getattr(alignment, "character_end_times_seconds", None) or []
    if not len(characters) == len(starts) == len(ends):
        raise _malformed("moments that do not belong to the characters")
    moments: list[tuple[str, float, float]] = []
    at, now = 0, 0.0
    for character in text:
        if at < len(characters) and characters[at] == character:
            moments.append((character, float(starts[at]), float(ends[at])))
            at, now = at + 1, float(ends[at])
        else:
            moments.append((character, now, now))
    if at < len(characters) or not characters:
        raise _malformed("the moments of another text")
    return tuple(moments)


def _malformed(what: str) -> MalformedReply:
    return MalformedReply(f"elevenlabs sent {what}", provider="elevenlabs", status=200)
