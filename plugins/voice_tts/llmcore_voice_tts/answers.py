"""Convert answers of the vendor to values of llmcore."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from llmcore.errors import MalformedReply
from llmcore.support.voice_answers import AudioValidator, check_wav
from llmcore.types import Speech, VoiceInfo, VoiceModel
from llmcore_voice_tts.models import get_credits_cost
from llmcore_voice_tts.request import SpeechRequest

__all__ = ["get_list", "make_speech", "make_timed_speech", "make_voice_info", "make_voice_model"]

Alignment = tuple[tuple[str, float, float], ...]


def make_speech(
    audio: bytes, headers: Mapping[str, str], text: str, request: SpeechRequest, alignment: Alignment = ()
) -> Speech:
    """Return the speech of an answer.

    Raises:
        NotAudio: The file cannot be played.
        IncompleteReply: The file is truncated.
    """
    duration = request.format.compute_duration(audio)
    if request.format.kind == "wav":
        audio, duration = check_wav(audio, "elevenlabs")
    characters, cost = _compute_bill(headers, text, request)
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


def make_timed_speech(answer: Any, headers: Mapping[str, str], text: str, request: SpeechRequest) -> Speech:
    """Return the speech of a JSON answer, with the time of each character.

    Raises:
        MalformedReply: The audio or the times are missing, or the times belong to another text.
        NotAudio: The file cannot be played.
    """
    encoded = getattr(answer, "audio_base_64", None)
    try:
        audio = base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        audio = None
    if audio is None:
        raise _make_malformed("audio that cannot be decoded")
    validator = AudioValidator({"content-length": str(len(audio))}, request.format.kind, "elevenlabs")
    validator.feed(audio)
    validator.end()
    return make_speech(
        audio, headers, text, request, _make_alignment(getattr(answer, "alignment", None), text)
    )


def make_voice_info(voice: Any) -> VoiceInfo:
    """Return the voice in an answer.

    Raises:
        MalformedReply: The voice has no id.
    """
    voice_id = getattr(voice, "voice_id", None)
    if not isinstance(voice_id, str) or not voice_id:
        raise _make_malformed("a voice without an id")
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


def make_voice_model(model: Any) -> VoiceModel:
    """Return the model in an answer."""
    limit = getattr(model, "maximum_text_length_per_request", None)
    languages = getattr(model, "languages", None) or ()
    return VoiceModel(
        model_id=str(model.model_id),
        name=getattr(model, "name", None) or "",
        max_characters=limit or getattr(model, "max_characters_request_subscribed_user", None) or None,
        languages=tuple(str(language.language_id) for language in languages),
        description=getattr(model, "description", None) or None,
    )


def get_list(answer: Any, name: str) -> Sequence[Any]:
    """Return the list in the field *name* of an answer. If *name* is empty, the answer itself is the list.

    Raises:
        MalformedReply: The value is not a list.
    """
    found = getattr(answer, name, None) if name else answer
    if not isinstance(found, list):
        raise _make_malformed(f"no list of {name or 'models'}")
    return found


def _compute_bill(
    headers: Mapping[str, str], text: str, request: SpeechRequest
) -> tuple[int, Decimal | None]:
    """Return the number of billed characters and their cost in USD.

    Both are computed from the credits in the header `character-cost`, or from *text* if the header is missing.
    """
    each = request.limits.credits_per_character
    try:
        taken = Decimal(headers.get("character-cost", ""))
    except InvalidOperation:
        taken = Decimal(-1)
    if not taken.is_finite() or taken < 0:
        return len(text), None if each is None else get_credits_cost(request.model, each * len(text))
    characters = len(text)
    if each is not None and abs(taken - each * characters) > 1:
        # The difference is larger than a rounding error, so the vendor has counted another number of characters.
        characters = int(taken / each)
    return characters, get_credits_cost(request.model, taken)


def _make_alignment(alignment: Any, text: str) -> Alignment:
    """Return the times of each character of *text*; a character without times has a duration of 0."""
    characters = getattr(alignment, "characters", None) or []
    starts = getattr(alignment, "character_start_times_seconds", None) or []
    ends = getattr(alignment, "character_end_times_seconds", None) or []
    if not len(characters) == len(starts) == len(ends):
        raise _make_malformed("times that do not match the characters")
    moments: list[tuple[str, float, float]] = []
    at, now = 0, 0.0
    for character in text:
        if at < len(characters) and characters[at] == character:
            moments.append((character, float(starts[at]), float(ends[at])))
            at, now = at + 1, float(ends[at])
        else:
            moments.append((character, now, now))
    if at < len(characters) or not characters:
        raise _make_malformed("the times of another text")
    return tuple(moments)


def _make_malformed(what: str) -> MalformedReply:
    return MalformedReply(f"elevenlabs sent {what}", provider="elevenlabs", status=200)
