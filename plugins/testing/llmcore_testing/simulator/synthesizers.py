"""The synthesizers of the simulator: a test tone, or an installed voice provider that speaks the text."""

from __future__ import annotations

import io
import sys
import zlib
from array import array
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from llmcore.errors import ConfigError
from llmcore.install_lines import make_install_line
from llmcore_testing.simulator import sounds
from llmcore_testing.simulator.sounds import Codec

__all__ = ["TONE", "Synthesizer", "find_synthesizer"]

_SLOWEST, _FASTEST = 0.5, 2.5
_LOWEST, _HIGHEST = 40, 60
_SLICE: Final = 65_536
_ENCODED: Final = {
    "alaw": ("RAW", "ALAW"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "ulaw": ("RAW", "ULAW"),
}


class Synthesizer(Protocol):
    """Converts text to audio. Equal texts give equal audio."""

    def get_duration(self, text: str, speed: float = 1.0, voice: str = "") -> float:
        """Return the duration of *text* in seconds."""
        ...

    def speak(
        self, text: str, codec: Codec, *, speed: float = 1.0, sized: bool = True, voice: str = ""
    ) -> bytes:
        """Return the spoken *text* as a complete file; see `sounds.speak`. A provider gives each *voice* another pitch."""
        ...


class _Tone:
    def get_duration(self, text: str, speed: float = 1.0, voice: str = "") -> float:
        del voice  # all voices share one tone
        return sounds.get_duration(text, speed)

    def speak(
        self, text: str, codec: Codec, *, speed: float = 1.0, sized: bool = True, voice: str = ""
    ) -> bytes:
        del voice
        return sounds.speak(text, codec, speed=speed, sized=sized)


TONE: Final[Synthesizer] = _Tone()


class _Voice:
    """An installed voice provider. The class caches audio because tests repeat the same texts."""

    def __init__(self, provider: Any, *, pitched: bool) -> None:
        self._provider, self._pitched = provider, pitched
        self._cached_levels = cache(self._synthesize)
        self._cached_audio = cache(self._encode)

    def get_duration(self, text: str, speed: float = 1.0, voice: str = "") -> float:
        levels, rate_hz = self._cached_levels(text, speed, voice)
        return len(levels) / rate_hz

    def speak(
        self, text: str, codec: Codec, *, speed: float = 1.0, sized: bool = True, voice: str = ""
    ) -> bytes:
        audio = self._cached_audio(text, codec, speed, voice)
        if audio is None:  # soundfile is not installed or cannot write this format
            return sounds.speak(text, codec, speed=speed, sized=sized)
        if codec.name == "wav":
            return sounds.make_wav_head(codec.rate_hz, len(audio), sized=sized) + audio
        return audio

    def _synthesize(self, text: str, speed: float, voice: str) -> tuple[array[int], int]:
        settings: dict[str, Any] = {"format": "pcm", "speed": min(_FASTEST, max(_SLOWEST, speed))}
        if voice and self._pitched:
            settings["pitch"] = _LOWEST + zlib.crc32(voice.encode()) % (_HIGHEST - _LOWEST)
        speech = self._provider.synthesize(text, **settings)
        levels = array("h", speech.audio)
        if sys.byteorder == "big":
            levels.byteswap()
        return levels, speech.sample_rate_hz

    def _encode(self, text: str, codec: Codec, speed: float, voice: str) -> bytes | None:
        levels = _resample(*self._cached_levels(text, speed, voice), codec.rate_hz)
        if codec.name in ("pcm", "wav"):
            if sys.byteorder == "big":
                levels.byteswap()
            return levels.tobytes()
        try:
            import soundfile
        except ImportError:
            return None
        if codec.name not in _ENCODED:
            return None
        container, subtype = _ENCODED[codec.name]
        held = io.BytesIO()
        with soundfile.SoundFile(
            held, "w", samplerate=codec.rate_hz, channels=1, format=container, subtype=subtype
        ) as file:
            for start in range(0, len(levels), _SLICE):
                file.buffer_write(levels[start : start + _SLICE].tobytes(), dtype="int16")
        return held.getvalue()


@cache
def find_synthesizer(name: str) -> Synthesizer:
    """Return the synthesizer *name*: "tone", or an installed voice provider.

    Raises:
        ConfigError: No installed voice provider has this name.
    """
    if name == "tone":
        return TONE
    for found in entry_points(group="llmcore.voice", name=name):
        for offered in found.load().llmcore_voice_providers():
            if offered.name == name:
                pitched = "pitch" in getattr(offered.options, "__struct_fields__", ())
                return _Voice(offered.create(offered.options()), pitched=pitched)
    installed = sorted({found.name for found in entry_points(group="llmcore.voice")})
    raise ConfigError(
        f"unknown voice {name!r} for the simulator",
        expected=f"tone, or an installed voice provider that needs no key: {', '.join(installed) or 'none is installed'}",
        fix=make_install_line("llmcore-voice-espeak"),
    )


def _resample(levels: array[int], rate_hz: int, wanted_hz: int) -> array[int]:
    """Resample *levels* to *wanted_hz* by linear interpolation."""
    if rate_hz == wanted_hz or len(levels) < 2:
        return levels[:]
    count = len(levels) * wanted_hz // rate_hz
    last = len(levels) - 2
    made = array("h", bytes(2 * count))
    for at in range(count):
        whole, part = divmod(at * rate_hz, wanted_hz)
        whole = min(whole, last)
        made[at] = levels[whole] + (levels[whole + 1] - levels[whole]) * part // wanted_hz
    return made
