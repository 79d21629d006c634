"""The abilities of the voice that need no SDK, key or network: traits, prices, voices, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.errors import VoiceNotFound
from llmcore.types import VoiceInfo, VoiceModel, VoiceTraits
from llmcore_openai_optimized.account import get_identity
from llmcore_openai_optimized.options import SpeechOptions
from llmcore_openai_optimized.speech_account import make_speech_account
from llmcore_openai_optimized.speech_request import MOST_CHARACTERS, make_speech_request

__all__ = ["SpeechOffline", "find_documented_voice", "known_models", "known_voices"]

_USD_PER_CHARACTER: Final = {"tts-1": Decimal(15) / 1_000_000, "tts-1-hd": Decimal(30) / 1_000_000}
"""List prices as of 2026-11. gpt-4o-mini-tts is missing, because it is billed by audio tokens and does not report them."""

_OF_ALL_MODELS: Final = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
_OF_THE_LATEST: Final = ("ballad", "cedar", "marin", "verse")
_MODELS: Final = {
    "gpt-4o-mini-tts": "supports instructions; billed by audio tokens",
    "tts-1": "fast",
    "tts-1-hd": "higher quality",
}
_SHUT_DOWN: Final = "shut down on 2027-01-06"


class SpeechOffline:
    """Implement `llmcore.contracts.VoiceOffline`."""

    def __init__(self, options: SpeechOptions) -> None:
        self._options = options

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        request = make_speech_request(self._options, voice, settings)
        make_speech_account(self._options)  # raise errors of the options
        added = msgspec.json.encode(request.extras, order="deterministic").decode()
        return VoiceTraits(
            voice=request.voice,
            model=request.model,
            format=request.format,
            sample_rate_hz=request.sample_rate_hz,
            max_characters=MOST_CHARACTERS,
            identity={**get_identity(self._options), "added": added},
            concurrency=self._options.concurrency,
        )

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:  # noqa: ARG002 - prices do not depend on time
        """See `VoiceOffline.speech_price`."""
        each = _USD_PER_CHARACTER.get(model)
        return None if each is None else each * characters


def known_voices() -> Sequence[VoiceInfo]:
    """Return the documented voices; OpenAI has no endpoint that lists voices."""
    every = {name: {"models": "all"} for name in _OF_ALL_MODELS}
    latest = {name: {"models": "gpt-4o-mini-tts"} for name in _OF_THE_LATEST}
    return [
        VoiceInfo(voice_id=name, name=name.capitalize(), labels=labels)
        for name, labels in sorted({**every, **latest}.items())
    ]


def find_documented_voice(voice_id: str) -> VoiceInfo:
    """Return a documented voice.

    Raises:
        VoiceNotFound: No documented voice has this id.
    """
    voices = {voice.voice_id: voice for voice in known_voices()}
    if voice_id not in voices:
        raise VoiceNotFound(f"unknown voice {voice_id!r} for openai", expected=", ".join(voices))
    return voices[voice_id]


def known_models() -> Sequence[VoiceModel]:
    """Return the speech models, with their shutdown dates."""
    return [
        VoiceModel(
            model_id=name, name=name, max_characters=MOST_CHARACTERS, description=f"{about}; {_SHUT_DOWN}"
        )
        for name, about in _MODELS.items()
    ]
