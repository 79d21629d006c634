"""Samples as a file of the format that was asked for."""

from __future__ import annotations

import io
import sys
import wave
from array import array
from collections.abc import Callable
from typing import Final

from llmcore.types import AudioFormat
from llmcore_voice_espeak.offline import RATE_HZ

__all__ = ["STREAM_HEAD", "encoded", "little_endian"]

_SUBTYPES: Final = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "flac": ("FLAC", "PCM_16"),
}
_SLICE: Final = 2 * 65_536
"""Bytes. The Vorbis encoder keeps on its stack what it is given at once, and kills the process with more than that holds."""


def little_endian(samples: bytes) -> bytes:
    """Return *samples* of 16 bits, which are in this machine's order, in that of files, or the other way round."""
    if sys.byteorder == "little":
        return samples
    swapped = array("h", samples)
    swapped.byteswap()
    return swapped.tobytes()


def encoded(samples: bytes, kind: AudioFormat, look: Callable[[], None]) -> bytes:
    """Return little-endian *samples* as a whole file of *kind*; *look* is called between slices and may raise."""
    if kind == "pcm":
        return samples
    if kind == "wav":
        return _wav(samples)
    import soundfile

    container, subtype = _SUBTYPES[kind]
    held = io.BytesIO()
    there = memoryview(little_endian(samples))
    with soundfile.SoundFile(
        held, "w", samplerate=RATE_HZ, channels=1, format=container, subtype=subtype
    ) as file:
        for at in range(0, len(there), _SLICE):
            look()
            file.buffer_write(there[at : at + _SLICE], dtype="int16")
    look()
    return held.getvalue()


def _wav(samples: bytes) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples)
    return held.getvalue()


def _stream_head() -> bytes:
    """Return the head of a wav whose length nobody knows yet."""
    head = bytearray(_wav(b""))
    head[4:8] = head[40:44] = b"\xff" * 4
    return bytes(head)


STREAM_HEAD: Final = _stream_head()
