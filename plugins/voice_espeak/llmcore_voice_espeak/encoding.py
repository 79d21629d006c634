"""Encode samples as an audio file."""

from __future__ import annotations

import io
import sys
import wave
from array import array
from collections.abc import Callable
from typing import Final

from llmcore.types import AudioFormat
from llmcore_voice_espeak.offline import RATE_HZ

__all__ = ["STREAM_HEAD", "encode_audio", "make_little_endian"]

_SUBTYPES: Final = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "flac": ("FLAC", "PCM_16"),
}
_SLICE: Final = 2 * 65_536
"""The maximum bytes to pass to the encoder at once. The Vorbis encoder copies its input to the stack, which a larger
input would overflow."""


def make_little_endian(samples: bytes) -> bytes:
    """Convert 16-bit *samples* between the byte order of this machine and little-endian."""
    if sys.byteorder == "little":
        return samples
    swapped = array("h", samples)
    swapped.byteswap()
    return swapped.tobytes()


def encode_audio(samples: bytes, kind: AudioFormat, look: Callable[[], object]) -> bytes:
    """Return little-endian *samples* as a file of *kind*.

    *look* is called between slices. An exception that it raises ends the encoding.
    """
    if kind == "pcm":
        return samples
    if kind == "wav":
        return _make_wav(samples)
    import soundfile

    container, subtype = _SUBTYPES[kind]
    held = io.BytesIO()
    there = memoryview(make_little_endian(samples))
    with soundfile.SoundFile(
        held, "w", samplerate=RATE_HZ, channels=1, format=container, subtype=subtype
    ) as file:
        for at in range(0, len(there), _SLICE):
            look()
            file.buffer_write(there[at : at + _SLICE], dtype="int16")
    look()
    return held.getvalue()


def _make_wav(samples: bytes) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples)
    return held.getvalue()


def _make_stream_head() -> bytes:
    """Return the header of a wav of unknown length."""
    head = bytearray(_make_wav(b""))
    head[4:8] = head[40:44] = b"\xff" * 4
    return bytes(head)


STREAM_HEAD: Final = _make_stream_head()
