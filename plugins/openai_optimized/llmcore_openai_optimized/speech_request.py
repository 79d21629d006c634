"""Check the settings of a call and make the body of a request for speech."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, cast

import msgspec

from llmcore.errors import BadRequest, TextTooLong, VoiceError, VoiceNotFound
from llmcore.types import AudioFormat
from llmcore_openai_optimized.options import SpeechOptions

__all__ = ["MOST_CHARACTERS", "SpeechRequest", "check_speech", "make_speech_request"]

MOST_CHARACTERS: Final = 4096
"""Maximum characters of one request, for every model."""
_FORMATS: Final = {"aac": None, "flac": None, "mp3": None, "opus": 48_000, "pcm": 24_000, "wav": 24_000}
"""Format -> its sample rate in Hz; None if only the audio itself contains the rate."""
_OWN: Final = ("format", "instructions", "language", "model", "speed")
_FROM_THE_HOST: Final = frozenset({"idle_s", "timeout_s"})
_SPEEDS: Final = (0.25, 4.0)
_UNINSTRUCTED: Final = frozenset({"tts-1", "tts-1-hd"})
_VOICE: Final = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
_CUSTOM: Final = "voice_"


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request without its text."""

    voice: str
    model: str
    format: AudioFormat
    sample_rate_hz: int | None
    extras: Mapping[str, Any]
    timeout_s: float | None
    idle_s: float | None

    def make_content(self, text: str) -> bytes:
        """Return the body of the request."""
        custom = self.voice.startswith(_CUSTOM)
        return msgspec.json.encode(
            {
                "model": self.model,
                "input": text,
                "voice": {"id": self.voice} if custom else self.voice,
                "response_format": self.format,
                **self.extras,
            }
        )


def make_speech_request(
    options: SpeechOptions, voice: str | None, settings: Mapping[str, Any]
) -> SpeechRequest:
    """Return the request for *settings*, completed from *options*.

    Raises:
        BadRequest: A setting is unknown or has a wrong value.
    """
    for name in settings:
        if name not in _OWN and name not in _FROM_THE_HOST:
            near = get_close_matches(name, _OWN, n=1)
            raise _make_error(
                f"unknown setting `{name}` for voices of openai",
                expected=", ".join(_OWN),
                suggestion=near[0] if near else None,
            )
    values = {name: value for name, value in settings.items() if value is not None}
    _check_language(values.get("language"))
    model = values.get("model", options.model)
    if not isinstance(model, str) or not model:
        raise _make_error(
            f"model must be the name of a model, got {model!r}", expected="a model's name, such as tts-1"
        )
    form = values.get("format", options.format)
    if not isinstance(form, str) or form not in _FORMATS:
        near = get_close_matches(str(form), _FORMATS, n=1)
        raise _make_error(
            f"unknown format {form!r} for voices of openai",
            expected=", ".join(_FORMATS),
            suggestion=near[0] if near else None,
        )
    extras = {
        "speed": _check_speed(values.get("speed", options.speed)),
        "instructions": _check_instructions(values.get("instructions", options.instructions), model),
    }
    return SpeechRequest(
        voice=options.voice if voice is None else voice,
        model=model,
        format=cast("AudioFormat", form),
        sample_rate_hz=_FORMATS[form],
        extras={name: value for name, value in extras.items() if value is not None},
        timeout_s=values.get("timeout_s"),
        idle_s=values.get("idle_s"),
    )


def check_speech(text: str, request: SpeechRequest) -> None:
    """Check *text* and the voice of *request*.

    Raises:
        VoiceError: The text is empty.
        BadRequest: The text contains a lone surrogate.
        TextTooLong: The text exceeds `MOST_CHARACTERS`.
        VoiceNotFound: The voice id has an invalid form.
    """
    if not isinstance(text, str) or not text.strip():
        raise VoiceError("the text is empty", code="LC904", expected="a text with at least one letter")
    if len(text) > MOST_CHARACTERS:
        raise TextTooLong(
            f"the text must have at most {MOST_CHARACTERS:,} characters for one request to openai, got {len(text):,}",
            expected=f"at most {MOST_CHARACTERS:,} characters",
            notes=("core.voice divides long texts automatically",),
        )
    lone = re.search(r"[\ud800-\udfff]", text)
    if lone is not None:
        raise _make_error(
            f"the text contains a lone surrogate U+{ord(lone[0]):04X} at index {lone.start()}",
            expected="text that UTF-8 can encode",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )
    if not isinstance(request.voice, str) or not _VOICE.fullmatch(request.voice):
        raise VoiceNotFound(f"openai has no voice {str(request.voice)[:80]!r}", fix="llmcore voices")


def _check_language(value: Any) -> None:
    """Check the language tag. The tag is not sent, because these models detect the language."""
    if value is not None and not (isinstance(value, str) and _LANGUAGE.fullmatch(value)):
        raise _make_error(
            f"language must be a language tag, got {value!r}", expected='a tag such as "de" or "en-GB"'
        )


def _check_speed(value: Any) -> float | None:
    if value is None:
        return None
    least, most = _SPEEDS
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _make_error(f"speed must be a number from {least:g} to {most:g}, got {value!r}")
    return float(value)


def _check_instructions(value: Any, model: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _make_error(f"instructions must be text, got {value!r}")
    if model in _UNINSTRUCTED:
        raise _make_error(
            f"{model} does not support instructions", expected="gpt-4o-mini-tts, or no instructions"
        )
    return value


def _make_error(message: str, **more: Any) -> BadRequest:
    return BadRequest(message, provider="openai", **more)
