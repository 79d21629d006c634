"""The correct voice of voice.py."""

from __future__ import annotations

import array
import io
import math
import wave
from collections.abc import Sequence
from functools import cache
from typing import Any

from llmcore.errors import VoiceError, VoiceNotFound
from llmcore.types import Speech, VoiceInfo

RATE = 8000
PITCHES = {"low": 220, "high": 880}


@cache
def note(pitch: float) -> array.array[int]:
    return array.array("h", (int(8000 * math.sin(pitch * math.tau / RATE * at)) for at in range(80)))


class Tone:
    """Correct, blocking: a note for each character, a wav."""

    def synthesize(self, text: str, voice: str | None = None, **settings: Any) -> Speech:
        if not text.strip():
            raise VoiceError("there is nothing to say")
        info = self.get_voice_info("low" if voice is None else voice)
        samples = self.samples(text, PITCHES[info.voice_id] * settings.get("pitch", 1))
        if settings.get("speed", 1) != 1:
            samples = samples[: int(len(samples) / settings["speed"])]
        form = settings.get("format", "wav")
        return Speech(
            audio=self.wav(samples)[44 if form == "pcm" else 0 :],
            format=form,
            sample_rate_hz=RATE,
            duration_s=len(samples) / RATE,
            characters=len(text),
            voice=info.voice_id,
        )

    def list_voices(self) -> Sequence[VoiceInfo]:
        return [VoiceInfo(voice_id=name, name=name.title()) for name in PITCHES]

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        for voice in self.list_voices():
            if voice.voice_id == voice_id:
                return voice
        raise VoiceNotFound(f"there is no voice {voice_id!r}")

    def samples(self, text: str, pitch: float) -> array.array[int]:
        notes = array.array("h")
        for character in text:
            notes.extend(note(pitch + ord(character) % 97))
        return notes

    def wav(self, samples: array.array[int]) -> bytes:
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(samples.tobytes())
        return file.getvalue()
