"""The abilities that work without the C library: settings, traits and price."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from llmcore.errors import BadRequest
from llmcore.types import AudioFormat, VoiceTraits
from llmcore_voice_espeak.options import EspeakOptions

__all__ = ["MODEL", "RATE_HZ", "EspeakOffline", "SpeechSettings"]

MODEL: Final = "espeak-ng"
RATE_HZ: Final = 22_050
_PLAIN: Final[tuple[AudioFormat, ...]] = ("wav", "pcm")
_ENCODED: Final[tuple[AudioFormat, ...]] = ("mp3", "ogg", "flac")
_HOSTS: Final = frozenset({"idle_s", "timeout_s"})


class SpeechSettings(NamedTuple):
    """The settings of one speech."""

    voice: str
    """The id of a voice, or "" to choose one by language."""
    language: str | None
    format: AudioFormat
    speed: float
    pitch: int


class EspeakOffline:
    """Implement `VoiceOffline`."""

    def __init__(self, options: EspeakOptions) -> None:
        self._options = options

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        wanted = self.make_settings(voice, settings)
        return VoiceTraits(
            voice=wanted.voice,
            model=MODEL,
            format=wanted.format,
            sample_rate_hz=RATE_HZ,
            identity={
                "espeak": _get_version(),
                "language": wanted.language or "",
                "speed": str(wanted.speed),
                "pitch": str(wanted.pitch),
            },
        )

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """See `VoiceOffline.speech_price`. Local speech costs nothing."""
        del model, characters, at
        return Decimal(0)

    def make_settings(self, voice: str | None, settings: Mapping[str, Any]) -> SpeechSettings:
        """Return the checked settings.

        Raises:
            BadRequest: A setting is unknown or has a wrong value.
        """
        given = {name: value for name, value in settings.items() if name not in _HOSTS}
        language = given.pop("language", None)
        if language is not None and (not isinstance(language, str) or not language.strip()):
            raise _make_misfit("language", language, 'BCP 47, such as "en-GB"')
        model = given.pop("model", MODEL)
        if model != MODEL:
            raise _make_misfit("model", model, MODEL)
        wanted = SpeechSettings(
            voice=voice if voice is not None else "" if language else self._options.voice,
            language=language,
            format=_format(given.pop("format", self._options.format)),
            speed=_check_number("speed", given.pop("speed", self._options.speed), 0.5, 2.5),
            pitch=int(_check_number("pitch", given.pop("pitch", self._options.pitch), 0, 99)),
        )
        given.pop("seed", None)  # the speech does not depend on a seed
        if given:
            raise _make_unknown_setting(min(given))
        return wanted


def _format(name: object) -> AudioFormat:
    for known in (*_PLAIN, *_ENCODED):
        if name == known:
            if known in _PLAIN or find_spec("soundfile") is not None:
                return known
            raise BadRequest(
                f"format={known!r} needs soundfile, which is not installed",
                provider="espeak",
                code="LC308",
                expected="wav or pcm, or soundfile",
                fix="pip install soundfile",
            )
    from difflib import get_close_matches

    near = get_close_matches(str(name), (*_PLAIN, *_ENCODED), n=1)
    fault = _make_misfit("format", name, ", ".join((*_PLAIN, *_ENCODED)))
    if near:
        fault.suggestion, fault.fix = near[0], f'synthesize(..., format="{near[0]}")'
    raise fault


def _check_number(name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise _make_misfit(name, value, f"a number from {least} to {most}")


def _make_misfit(name: str, value: object, expected: str) -> BadRequest:
    return BadRequest(
        f"{name} must be {expected} for `espeak`, got {value!r}",
        provider="espeak",
        code="LC308",
        expected=expected,
    )


def _make_unknown_setting(name: str) -> BadRequest:
    from difflib import get_close_matches

    known = ["format", "language", "model", "pitch", "seed", "speed"]
    near = get_close_matches(name, known, n=1)
    return BadRequest(
        f"unknown setting `{name}` for the voice provider `espeak`",
        provider="espeak",
        code="LC302",
        expected=", ".join(known),
        suggestion=near[0] if near else None,
    )


@cache
def _get_version() -> str:
    try:
        return version("espeakng-loader")
    except PackageNotFoundError:
        return ""
