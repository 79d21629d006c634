"""What is known of OpenAI's speech without an SDK, key or network: traits, prices, voices, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.errors import VoiceNotFound
from llmcore.types import VoiceInfo, VoiceModel, VoiceTraits
from llmcore_openai_optimized._speech_request import MOST_CHARACTERS, speech_request
from llmcore_openai_optimized.account import identity_of
from llmcore_openai_optimized.speech_options import SpeechOptions, speech_account

__all__ = ["SpeechOffline"]

_USD_PER_CHARACTER: Final = {"tts-1": Decimal(15) / 1_000_000, "tts-1-hd": Decimal(30) / 1_000_000}
"""List prices as of 2026-11. gpt-4o-mini-tts is billed by tokens of audio, of which its answers say nothing."""

_OF_ALL_MODELS: Final = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
_OF_THE_LATEST: Final = ("ballad", "cedar", "marin", "verse")
_MODELS: Final = {
    "gpt-4o-mini-tts": "takes instructions; billed by tokens of audio",
    "tts-1": "quick",
    "tts-1-hd": "better",
}
_SHUT_DOWN: Final = "shut down on 2027-01-06"


class SpeechOffline:
    """Keeps `llmcore.contracts.VoiceOffline`."""

    def __init__(self, options: SpeechOptions) -> None:
        self._options = options

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        request = speech_request(self._options, voice, settings)
        speech_account(self._options)  # says what is wrong with the options as those of a voice
        added = msgspec.json.encode(request.extras, order="deterministic").decode()
        return VoiceTraits(
            voice=request.voice,
            model=request.model,
            format=request.format,
            sample_rate_hz=request.sample_rate_hz,
            max_characters=MOST_CHARACTERS,
            identity={**identity_of(self._options), "added": added},
            concurrency=self._options.concurrency,
        )

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:  # noqa: ARG002 - these prices have not changed
        """See `VoiceOffline.speech_price`."""
        each = _USD_PER_CHARACTER.get(model)
        return None if each is None else each * characters


def known_voices() -> Sequence[VoiceInfo]:
    """Return the voices that OpenAI documents; it has no endpoint that lists them."""
    every = {name: {"models": "all"} for name in _OF_ALL_MODELS}
    latest = {name: {"models": "gpt-4o-mini-tts"} for name in _OF_THE_LATEST}
    return [
        VoiceInfo(voice_id=name, name=name.capitalize(), labels=labels)
        for name, labels in sorted({**every, **latest}.items())
    ]


def known_voice(voice_id: str) -> VoiceInfo:
    """Return one of them.

    Raises:
        VoiceNotFound: It is none of them.
    """
    voices = {voice.voice_id: voice for voice in known_voices()}
    if voice_id not in voices:
        raise VoiceNotFound(f"openai documents no voice {voice_id!r}", expected=", ".join(voices))
    return voices[voice_id]


def known_models() -> Sequence[VoiceModel]:
    """Return the models that speak, and until when."""
    return [
        VoiceModel(
            model_id=name, name=name, max_characters=MOST_CHARACTERS, description=f"{said}; {_SHUT_DOWN}"
        )
        for name, said in _MODELS.items()
    ]
