"""ElevenLabs' text to speech: plain, streaming, and with a timestamp for each character."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmcore_testing.simulator.endpoints.eleven_errors import make_error, make_validation_error
from llmcore_testing.simulator.endpoints.eleven_models import MODELS
from llmcore_testing.simulator.endpoints.eleven_voice_store import find_store
from llmcore_testing.simulator.openai_common import make_id
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.sounds import Codec, split_audio
from llmcore_testing.simulator.synthesizers import Synthesizer
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["convert", "convert_with_timestamps", "stream", "stream_with_timestamps"]

_DEFAULT_FORMAT: Final = "mp3_44100_128"
_RATES: Final = ("8000", "16000", "22050", "24000", "32000", "44100", "48000")
_FORMATS: Final = frozenset(
    [f"{name}_{rate}" for name in ("pcm", "wav") for rate in _RATES]
    + [f"mp3_44100_{kbps}" for kbps in (32, 64, 96, 128, 192)]
    + [f"opus_48000_{kbps}" for kbps in (32, 64, 96, 128, 192)]
    + ["mp3_22050_32", "mp3_24000_48", "ulaw_8000", "alaw_8000"]
)
_RANGES: Final = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
}
_MOST_LOCATORS: Final = 3
_GROUP: Final = 10
"""The number of characters per line in a stream with timestamps."""


@dataclass(frozen=True, slots=True)
class _SpeechRequest:
    """A validated speech request."""

    text: str
    codec: Codec
    speed: float
    credits: int
    synthesizer: Synthesizer
    voice: str

    def make_audio(self, *, sized: bool = True) -> bytes:
        """Return the audio of the text."""
        return self.synthesizer.speak(self.text, self.codec, speed=self.speed, sized=sized, voice=self.voice)

    def make_headers(self) -> dict[str, str]:
        """Return the response headers."""
        return {
            "request-id": make_id(""),
            "history-item-id": make_id(""),
            "character-cost": str(self.credits),
        }


def convert(call: Call) -> Answer:
    """Send the whole audio in one body."""
    speech = _read_request(call)
    audio = speech.make_audio()
    return Answer(
        pieces=(audio,),
        content_type=speech.codec.content_type,
        headers=speech.make_headers(),
        counted="speech",
    )


def stream(call: Call) -> Answer:
    """Send the audio as a stream."""
    speech = _read_request(call)
    audio = speech.make_audio(sized=False)
    return Answer(
        pieces=tuple(split_audio(audio)),
        content_type=speech.codec.content_type,
        headers=speech.make_headers(),
        streamed=True,
        counted="speech",
    )


def convert_with_timestamps(call: Call) -> Answer:
    """Send JSON with the audio and a timestamp for each character."""
    speech = _read_request(call)
    audio = speech.make_audio()
    body = _make_line(audio, _make_alignment(speech, 0, len(speech.text)))
    return Answer(pieces=(encode(body),), headers=speech.make_headers(), counted="speech")


def stream_with_timestamps(call: Call) -> Answer:
    """Send JSON lines. Each line has a part of the audio and the timestamps for its characters."""
    speech = _read_request(call)
    lines = tuple(encode(line) + b"\n\n" for line in _iterate_lines(speech))
    return Answer(pieces=lines, headers=speech.make_headers(), streamed=True, counted="speech")


def _iterate_lines(speech: _SpeechRequest) -> Iterator[dict[str, Any]]:
    audio = speech.make_audio(sized=False)
    starts = range(0, len(speech.text), _GROUP)
    for index, start in enumerate(starts):
        part = audio[len(audio) * index // len(starts) : len(audio) * (index + 1) // len(starts)]
        yield _make_line(part, _make_alignment(speech, start, min(start + _GROUP, len(speech.text))))


def _make_line(audio: bytes, alignment: Mapping[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(audio).decode()
    return {"audio_base64": encoded, "alignment": alignment, "normalized_alignment": alignment}


def _make_alignment(speech: _SpeechRequest, start: int, end: int) -> dict[str, Any]:
    each = speech.synthesizer.get_duration(speech.text, speech.speed, speech.voice) / len(speech.text)
    return {
        "characters": list(speech.text[start:end]),
        "character_start_times_seconds": [round(at * each, 3) for at in range(start, end)],
        "character_end_times_seconds": [round((at + 1) * each, 3) for at in range(start, end)],
    }


def _read_request(call: Call) -> _SpeechRequest:
    body = call.request.body if isinstance(call.request.body, dict) else {}
    text = body.get("text")
    if not isinstance(text, str):
        raise make_validation_error("missing", "text", "Field required", body)
    if not text:
        raise make_error(400, "input_text_empty", "Input text cannot be empty.")
    find_store(call).find_voice(call.names["voice"])
    model = MODELS.get(body.get("model_id", "eleven_multilingual_v2"))
    known = call.settings.models is None or body.get("model_id") in call.settings.models
    if model is None or not known:
        raise make_error(
            400, "model_not_found", f"A model with model ID {body.get('model_id')} does not exist."
        )
    if len(text) > model.most_characters:
        said = f"This request's text has {len(text)} characters and exceeds the character limit of {model.most_characters}."
        raise make_error(400, "max_character_limit_exceeded", said)
    locators = body.get("pronunciation_dictionary_locators") or []
    if len(locators) > _MOST_LOCATORS:
        raise make_validation_error(
            "too_long", "pronunciation_dictionary_locators", "List should have at most 3 items"
        )
    for locator in locators:
        find_store(call).find_dictionary(locator.get("pronunciation_dictionary_id", ""))
    spent = round(len(text) * model.credits_per_character)
    return _SpeechRequest(
        text, _read_codec(call), _read_speed(body), spent, call.settings.synthesizer, call.names["voice"]
    )


def _read_codec(call: Call) -> Codec:
    name = call.request.query.get("output_format", _DEFAULT_FORMAT)
    if name not in _FORMATS:
        raise make_validation_error(
            "enum", "output_format", "Input should be one of the output formats", name
        )
    kind, rate, *kbps = name.split("_")
    return Codec(kind, int(rate), *map(int, kbps))


def _read_speed(body: Mapping[str, Any]) -> float:
    settings = body.get("voice_settings") or {}
    for name, (least, most) in _RANGES.items():
        value = settings.get(name)
        if value is not None and not (isinstance(value, int | float) and least <= value <= most):
            raise make_error(
                400, "invalid_voice_settings", f"Invalid setting for {name}, expected {least} to {most}."
            )
    return float(settings.get("speed") or 1.0)
