"""The settings of a speech, typed for type checkers and editors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

__all__ = ["SpeechOptions", "SpeechSettings"]


class SpeechSettings(TypedDict, total=False):
    """Settings of voices.

    `format`, `language` and `speed` mean the same to every provider; all other settings exist only for some providers.
    Pass any other setting of a third-party provider as `**{"name": value}`.
    """

    voice_id: str | None
    """Another name of the argument `voice`."""
    format: str | None
    """An `AudioFormat`, or a format of the vendor such as `mp3_44100_128`."""
    language: str | None
    speed: float | None
    instructions: str | None
    """openai: instructions on how to speak."""
    pitch: int | None
    """espeak: the pitch of the voice."""
    style: float | None
    """elevenlabs: the style. The settings below belong to elevenlabs too."""
    use_speaker_boost: bool | None
    clone_strength: float | None
    seed: int | None
    apply_text_normalization: str | None
    pronunciation_dictionaries: str | Sequence[str] | Sequence[Mapping[str, Any]] | None
    next_request_ids: Sequence[str] | None


class SpeechOptions(SpeechSettings, total=False):
    """The settings of the methods that have no parameters `stability` and `similarity_boost`."""

    stability: float | None
    """elevenlabs: from 0 to 1; a lower value gives more varied speech."""
    similarity_boost: float | None
    """elevenlabs: from 0 to 1; a higher value is closer to the original voice."""
