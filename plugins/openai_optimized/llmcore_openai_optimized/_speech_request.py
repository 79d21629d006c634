"""From a caller's settings to the body of a request for speech: checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, cast

import msgspec

from llmcore.errors import BadRequest, TextTooLong, VoiceError, VoiceNotFound
from llmcore.types import AudioFormat
from llmcore_openai_optimized.speech_options import SpeechOptions

__all__ = ["MOST_CHARACTERS", "SpeechRequest", "check_speech", "speech_request"]

MOST_CHARACTERS: Final = 4096
"""Of one request, whatever the model."""
_FORMATS: Final = {"aac": None, "flac": None, "mp3": None, "opus": 48_000, "pcm": 24_000, "wav": 24_000}
"""The rate of each, where it is known before the audio is there."""
_OWN: Final = ("format", "instructions", "language", "model", "speed")
_FROM_THE_HOST: Final = frozenset({"idle_s", "timeout_s"})
_SPEEDS: Final = (0.25, 4.0)
_UNINSTRUCTED: Final = frozenset({"tts-1", "tts-1-hd"})
_VOICE: Final = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
_CUSTOM: Final = "voice_"


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, less the text."""

    voice: str
    model: str
    format: AudioFormat
    sample_rate_hz: int | None
    extras: Mapping[str, Any]
    timeout_s: float | None
    idle_s: float | None

    def content(self, text: str) -> bytes:
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


def speech_request(options: SpeechOptions, voice: str | None, settings: Mapping[str, Any]) -> SpeechRequest:
    """Return what *settings* mean, completed from *options*.

    Raises:
        BadRequest: One is not known, or does not fit.
    """
    for name in settings:
        if name not in _OWN and name not in _FROM_THE_HOST:
            near = get_close_matches(name, _OWN, n=1)
            raise _bad(
                f"openai's voices know no setting `{name}`",
                expected=", ".join(_OWN),
                suggestion=near[0] if near else None,
            )
    given = {name: value for name, value in settings.items() if value is not None}
    _check_language(given.get("language"))
    model = given.get("model", options.model)
    if not isinstance(model, str) or not model:
        raise _bad(f"`model` cannot be {model!r}", expected="a model's name, such as tts-1")
    form = given.get("format", options.format)
    if not isinstance(form, str) or form not in _FORMATS:
        near = get_close_matches(str(form), _FORMATS, n=1)
        raise _bad(
            f"openai's voices know no format {form!r}",
            expected=", ".join(_FORMATS),
            suggestion=near[0] if near else None,
        )
    extras = {
        "speed": _speed(given.get("speed", options.speed)),
        "instructions": _instructions(given.get("instructions", options.instructions), model),
    }
    return SpeechRequest(
        voice=options.voice if voice is None else voice,
        model=model,
        format=cast("AudioFormat", form),
        sample_rate_hz=_FORMATS[form],
        extras={name: value for name, value in extras.items() if value is not None},
        timeout_s=given.get("timeout_s"),
        idle_s=given.get("idle_s"),
    )


def check_speech(text: str, request: SpeechRequest) -> None:
    """Raise what keeps *text* from being sent.

    Raises:
        VoiceError: There is nothing to say.
        BadRequest: It is no text that can be sent.
        TextTooLong: It is longer than one request may be.
        VoiceNotFound: No voice can be called so.
    """
    if not isinstance(text, str) or not text.strip():
        raise VoiceError("there is nothing to say", code="LC904", expected="a text with at least one letter")
    if len(text) > MOST_CHARACTERS:
        raise TextTooLong(
            f"the text has {len(text):,} characters, and openai takes {MOST_CHARACTERS:,} in one request",
            expected=f"at most {MOST_CHARACTERS:,} characters",
            notes=("core.voice divides long texts by itself",),
        )
    lone = re.search(r"[\ud800-\udfff]", text)
    if lone is not None:
        raise _bad(
            f"character {lone.start()} of the text is half of a surrogate pair, which cannot be sent",
            expected="text that UTF-8 can hold",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )
    if not isinstance(request.voice, str) or not _VOICE.fullmatch(request.voice):
        raise VoiceNotFound(f"openai has no voice {str(request.voice)[:80]!r}", fix="llmcore voices")


def _check_language(value: Any) -> None:
    """Raise for what names no language; one that does is not sent, for these models hear it from the text."""
    if value is not None and not (isinstance(value, str) and _LANGUAGE.fullmatch(value)):
        raise _bad(f"`language` cannot be {value!r}", expected='a tag such as "de" or "en-GB"')


def _speed(value: Any) -> float | None:
    if value is None:
        return None
    least, most = _SPEEDS
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _bad(f"`speed` cannot be {value!r}", expected=f"a number from {least:g} to {most:g}")
    return float(value)


def _instructions(value: Any, model: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _bad(f"`instructions` cannot be {value!r}", expected="how to speak, in words")
    if model in _UNINSTRUCTED:
        raise _bad(f"{model} takes no `instructions`", expected="gpt-4o-mini-tts, or no instructions at all")
    return value


def _bad(message: str, **more: Any) -> BadRequest:
    return BadRequest(message, provider="openai", **more)
