"""Check and write WAV files."""

from __future__ import annotations

import struct

from llmcore.support.wav import UNKNOWN, repair_wav
from llmcore.voice.audio.info import AudioInfo, make_not_audio, make_truncated

__all__ = ["make_wav", "read"]


def read(audio: bytes) -> AudioInfo:
    """Return the sample rate, channels and duration; correct unknown lengths in the header.

    Raises:
        NotAudio: *audio* is not WAV, has no valid chunk `fmt `, is truncated, or has no complete sample.
    """
    audio, head = repair_wav(audio)
    there, size = len(audio) - head.begins, head.size or 0
    if there < size:
        raise make_truncated("wav", f"{there:,} of {size:,} bytes of samples")
    if size < head.frame_bytes:
        raise make_not_audio("the wav file has no samples")
    return AudioInfo(
        audio, head.sample_rate_hz, head.channels, size // head.frame_bytes / head.sample_rate_hz
    )


def make_wav(form: bytes, bodies: list[bytes], size: int | None = None) -> bytes:
    """Return a WAV file with the samples of *bodies*.

    Args:
        form: The chunk `fmt `.
        bodies: Samples.
        size: The length in the header; None means the length of *bodies*.
    """
    length = min(UNKNOWN, sum(map(len, bodies))) if size is None else size
    around = 4 + 8 + len(form) + 8
    whole = UNKNOWN if length + around > UNKNOWN else length + around + length % 2
    head = struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(form)) + form
    return b"".join(
        [head, struct.pack("<4sI", b"data", length), *bodies, b"\0" * (length % 2 if size is None else 0)]
    )
