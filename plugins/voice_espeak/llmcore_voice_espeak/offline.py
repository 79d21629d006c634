"""What is known of a speech before it is spoken: checked settings, format, price."""

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
from llmcore_voice_espeak.plugin import EspeakOptions

__all__ = ["MODEL", "RATE_HZ", "EspeakOffline", "Wanted"]

MODEL: Final = "espeak-ng"
RATE_HZ: Final = 22_050
_PLAIN: Final[tuple[AudioFormat, ...]] = ("wav", "pcm")
_ENCODED: Final[tuple[AudioFormat, ...]] = ("mp3", "ogg", "flac")
_HOSTS: Final = frozenset({"idle_s", "timeout_s"})


class Wanted(NamedTuple):
    """What one speech is to be like."""

    voice: str
    """The id of a voice, or "" where the language decides."""
    language: str | None
    format: AudioFormat
    speed: float
    pitch: int


class EspeakOffline:
    """Keeps `VoiceOffline`."""

    def __init__(self, options: EspeakOptions) -> None:
        self._options = options

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        wanted = self.wanted(voice, settings)
        return VoiceTraits(
            voice=wanted.voice,
            model=MODEL,
            format=wanted.format,
            sample_rate_hz=RATE_HZ,
            identity={
                "espeak": _version(),
                "language": wanted.language or "",
                "speed": str(wanted.speed),
                "pitch": str(wanted.pitch),
            },
        )

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:
        """See `VoiceOffline.speech_price`: nothing, for it is spoken here."""
        del model, characters, at
        return Decimal(0)

    def wanted(self, voice: str | None, settings: Mapping[str, Any]) -> Wanted:
        """Return what the settings say.

        Raises:
            BadRequest: One is not known or does not fit.
        """
        given = {name: value for name, value in settings.items() if name not in _HOSTS}
        language = given.pop("language", None)
        if language is not None and (not isinstance(language, str) or not language.strip()):
            raise _misfit("language", language, 'BCP 47, such as "en-GB"')
        model = given.pop("model", MODEL)
        if model != MODEL:
            raise _misfit("model", model, MODEL)
        wanted = Wanted(
            voice=voice if voice is not None else "" if language else self._options.voice,
            language=language,
            format=_format(given.pop("format", self._options.format)),
            speed=_number("speed", given.pop("speed", self._options.speed), 0.5, 2.5),
            pitch=int(_number("pitch", given.pop("pitch", self._options.pitch), 0, 99)),
        )
        given.pop("seed", None)  # every speech is as the one before, whatever the seed
        if given:
            raise _unknown(min(given))
        return wanted


def _format(name: object) -> AudioFormat:
    for known in (*_PLAIN, *_ENCODED):
        if name == known:
            if known in _PLAIN or find_spec("soundfile") is not None:
                return known
            raise BadRequest(
                f"`espeak` writes {known} only with soundfile, which is not installed",
                provider="espeak",
                code="LC308",
                expected="wav or pcm, which need nothing",
                fix="pip install soundfile",
            )
    raise _misfit("format", name, ", ".join((*_PLAIN, *_ENCODED)))


def _number(name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise _misfit(name, value, f"a number from {least} to {most}")


def _misfit(name: str, value: object, expected: str) -> BadRequest:
    return BadRequest(
        f"{name}={value!r} does not fit `espeak`", provider="espeak", code="LC308", expected=expected
    )


def _unknown(name: str) -> BadRequest:
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
def _version() -> str:
    try:
        return version("espeakng-loader")
    except PackageNotFoundError:
        return ""
