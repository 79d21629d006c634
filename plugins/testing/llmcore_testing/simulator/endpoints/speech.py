"""POST /v1/audio/speech, OpenAI's text to speech."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator.openai_common import make_headers, read_json_body, read_model
from llmcore_testing.simulator.openai_errors import Refused, make_invalid
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.sounds import Codec, split_audio
from llmcore_testing.simulator.wire import Answer

__all__ = ["VOICES", "answer_speech"]

VOICES: Final = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip
_RATE: Final = 24_000
_FORMATS: Final = ("mp3", "opus", "aac", "flac", "wav", "pcm")
_MOST_CHARACTERS: Final = 4096
_SPEEDS: Final = (0.25, 4.0)


def answer_speech(call: Call) -> Answer:
    """Synthesize the input text."""
    body = read_json_body(call)
    read_model(call, body)
    text, form, speed, voice = _read_request(body)
    codec = Codec(form, 48_000 if form == "opus" else _RATE)
    audio = call.settings.synthesizer.speak(text, codec, speed=speed, sized=False, voice=voice)
    return Answer(
        pieces=tuple(split_audio(audio)),
        content_type=codec.content_type,
        headers=make_headers(0),
        streamed=True,
        counted="speech",
    )


def _read_request(body: Mapping[str, Any]) -> tuple[str, str, float, str]:
    text, voice = body.get("input"), body.get("voice")
    if not isinstance(text, str):
        raise make_invalid("Field required: input.", param="input")
    if not text:
        raise _make_validation_error("string_too_short", "input", "String should have at least 1 character")
    if len(text) > _MOST_CHARACTERS:
        raise _make_validation_error(
            "string_too_long", "input", f"String should have at most {_MOST_CHARACTERS} characters"
        )
    if voice not in VOICES and not (isinstance(voice, dict) and voice.get("id")):
        raise _make_validation_error("enum", "voice", f"Input should be {_join_names(VOICES)}")
    form = body.get("response_format", "mp3")
    if form not in _FORMATS:
        raise _make_validation_error("enum", "response_format", f"Input should be {_join_names(_FORMATS)}")
    speed = body.get("speed", 1.0)
    if not isinstance(speed, int | float) or not _SPEEDS[0] <= speed <= _SPEEDS[1]:
        raise _make_validation_error("less_than_equal", "speed", "Input should be from 0.25 to 4.0")
    return text, form, speed, voice if isinstance(voice, str) else str(voice["id"])


def _make_validation_error(kind: str, name: str, said: str) -> Refused:
    """Return a validation error as OpenAI sends it: the message is the Python repr of a list of errors."""
    return make_invalid(f"[{{'type': '{kind}', 'loc': ('body', '{name}'), 'msg': '{said}'}}]")


def _join_names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
