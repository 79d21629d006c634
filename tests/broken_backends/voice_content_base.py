"""The common base of the voices of voice_content.py."""

from __future__ import annotations

from typing import Any

import msgspec

from llmcore.types import Speech
from tests.broken_backends.voice_abilities import Able


class Changed(Able):
    """Changes the samples, of a WAV or raw, and keeps their number."""

    speech: Speech

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        speech = super().synthesize(text, voice, **settings)
        begins = 44 if speech.format == "wav" else 0
        self.speech = speech
        audio = speech.audio[:begins] + self.change(speech.audio[begins:])
        return msgspec.structs.replace(speech, audio=audio)

    def change(self, samples: bytes) -> bytes:
        raise NotImplementedError


class Cuts(Able):
    """neonbjb/tortoise-tts#53: the end of the audio is cut off."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        spoken = super().synthesize(self.cut(text), voice, **settings)
        return msgspec.structs.replace(spoken, characters=0)

    def cut(self, text: str) -> str:
        raise NotImplementedError
