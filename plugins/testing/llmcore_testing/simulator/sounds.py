"""Audio in place of speech, in every audio format.

The text determines the duration and, in PCM, WAV, u-law and A-law, the pitch of a tone. The other formats are silent.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from llmcore_testing.simulator import silent_audio

__all__ = ["SECONDS_PER_CHARACTER", "Codec", "get_duration", "make_wav_head", "speak", "split_audio"]

SECONDS_PER_CHARACTER: Final = 0.02
_LOUDNESS: Final = 8000
_UNKNOWN: Final = 0xFFFFFFFF
_PIECES: Final = 8
_LARGEST_PIECE: Final = 16_001


class Codec(NamedTuple):
    """An audio format with its sample rate."""

    name: str
    """wav, mp3, opus, flac, aac, pcm, ulaw or alaw."""
    rate_hz: int
    kbps: int = 128
    """Bit rate of mp3."""

    @property
    def content_type(self) -> str:
        """The header `Content-Type` for this format."""
        return _CONTENT_TYPES[self.name]


_CONTENT_TYPES: Final = {
    "aac": "audio/aac",
    "alaw": "audio/basic",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
    "ulaw": "audio/basic",
    "wav": "audio/wav",
}


def get_duration(text: str, speed: float = 1.0) -> float:
    """Return the duration of the spoken *text* in seconds."""
    return max(0.1, len(text) * SECONDS_PER_CHARACTER / speed)


def speak(text: str, codec: Codec, *, speed: float = 1.0, sized: bool = True) -> bytes:
    """Return the audio for *text* as a complete file. Equal texts give equal files.

    Args:
        text: Texts of equal length give different files, except in AAC.
        codec: The format.
        speed: 2 halves the duration.
        sized: True if a WAV header states the length. Vendors that stream WAV mark the length as unknown.
    """
    seconds, mark = get_duration(text, speed), zlib.crc32(text.encode("utf-8", "surrogatepass"))
    match codec.name:
        case "mp3":
            return silent_audio.make_mp3(seconds, codec.rate_hz, codec.kbps, mark)
        case "aac":
            return silent_audio.make_aac(seconds, codec.rate_hz)
        case "opus":
            return silent_audio.make_opus(seconds, mark)
        case "flac":
            return silent_audio.make_flac(seconds, codec.rate_hz, mark)
        case "ulaw" | "alaw":
            return _repeat(_make_square(mark), round(seconds * codec.rate_hz))
    samples = _repeat(_make_sine(mark), 2 * round(seconds * codec.rate_hz))
    return (
        samples if codec.name == "pcm" else make_wav_head(codec.rate_hz, len(samples), sized=sized) + samples
    )


def split_audio(audio: bytes) -> Iterator[bytes]:
    """Yield *audio* in several pieces."""
    size = min(len(audio) // _PIECES + 3, _LARGEST_PIECE)  # a piece may end inside a sample, as on a network
    for start in range(0, len(audio), size):
        yield audio[start : start + size]


def _make_sine(mark: int) -> bytes:
    period = 40 + mark % 61
    levels = (round(_LOUDNESS * math.sin(2 * math.pi * at / period)) for at in range(period))
    return struct.pack(f"<{period}h", *levels)


def _make_square(mark: int) -> bytes:
    half = 20 + mark % 31
    return b"\x9f" * half + b"\x1f" * half


def _repeat(period: bytes, size: int) -> bytes:
    return (period * (size // len(period) + 1))[:size]


def make_wav_head(rate_hz: int, size: int, *, sized: bool) -> bytes:
    """Return the WAV header for *size* bytes of samples. If not *sized*, the header marks the length as unknown."""
    whole, data = (size + 36, size) if sized else (_UNKNOWN, _UNKNOWN)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + form + struct.pack("<4sI", b"data", data)
