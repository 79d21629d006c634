"""WAV: a header that tells the length, and samples."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from llmcore.voice.audio.heard import Heard, broken, cut

__all__ = ["UNKNOWN", "WavHead", "head_of", "hear", "written"]

UNKNOWN: Final = 0xFFFFFFFF
"""The length in a header that was sent before anybody knew it."""
_LONGEST: Final = 0x7FFFF000
"""From here on a length is taken for unknown: encoders that stream write one of several such numbers."""


class WavHead(NamedTuple):
    """The header of a wav, up to its samples."""

    form: bytes
    """The chunk `fmt `, without its head."""
    begins: int
    """Where the samples begin."""
    size: int | None
    """Bytes of samples; None where the header does not know."""

    @property
    def channels(self) -> int:
        """Samples at one moment."""
        return int.from_bytes(self.form[2:4], "little")

    @property
    def sample_rate_hz(self) -> int:
        """Moments a second."""
        return int.from_bytes(self.form[4:8], "little")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one moment."""
        return int.from_bytes(self.form[12:14], "little")


def head_of(data: bytes | bytearray) -> WavHead | None:
    """Return the header, None where more of the file is needed to read it.

    Raises:
        NotAudio: This is no wav.
    """
    if len(data) < 12:
        return None
    if bytes(data[:4]) not in (b"RIFF", b"RF64") or bytes(data[8:12]) != b"WAVE":
        raise broken("this is no wav: its head does not say so")
    at, form = 12, b""
    while at + 8 <= len(data):
        name, size = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            return _checked(form, at, None if size >= _LONGEST else size)
        if name == b"fmt ":
            form = bytes(data[at : at + size])
        at += size + size % 2
    return None


def _checked(form: bytes, begins: int, size: int | None) -> WavHead:
    head = WavHead(form, begins, size)
    if len(form) < 16 or not (head.channels and head.sample_rate_hz and head.frame_bytes):
        raise broken("the wav does not say how its samples are to be read")
    return head


def hear(audio: bytes) -> Heard:
    """Return what the file says of itself, with its lengths mended where they were not known.

    Raises:
        NotAudio: It is no wav, cut short or silent for want of samples.
    """
    head = head_of(audio)
    if head is None:
        raise cut("wav", "it ends before its samples")
    there = len(audio) - head.begins
    size = head.size
    if size is None or (size == 0 and there):
        size = there - there % head.frame_bytes
        audio = written(head.form, [audio[head.begins : head.begins + size]])
    if there < size:
        raise cut("wav", f"{there:,} of {size:,} bytes of samples")
    if size < head.frame_bytes:
        raise broken("the wav has no samples")
    frames = size // head.frame_bytes
    return Heard(audio, head.sample_rate_hz, head.channels, frames / head.sample_rate_hz)


def written(form: bytes, bodies: list[bytes], size: int | None = None) -> bytes:
    """Return a wav of *bodies* in a row.

    Args:
        form: The chunk `fmt `.
        bodies: Samples.
        size: What the header says, in place of the length of *bodies*.
    """
    length = min(UNKNOWN, sum(map(len, bodies))) if size is None else size
    around = 4 + 8 + len(form) + 8
    whole = UNKNOWN if length + around > UNKNOWN else length + around + length % 2
    head = struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(form)) + form
    return b"".join(
        [head, struct.pack("<4sI", b"data", length), *bodies, b"\0" * (length % 2 if size is None else 0)]
    )
