"""Read and repair the header of a WAV file: the format, and the offset and length of the samples.

The length may be unknown.
"""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from llmcore.errors import NotAudio

__all__ = ["UNKNOWN", "WavHead", "is_unknown_length", "read_wav_head", "repair_wav"]

UNKNOWN: Final = 0xFFFFFFFF
"""The value that llmcore writes into a header while the length is not known."""
_LONGEST: Final = 0x7FFF_0000
"""A length of at least this value means "unknown", because no speech has two gigabytes.

The header of a stream is sent before the length is known. ffmpeg and OpenAI write 0xFFFFFFFF, espeak and sox 0x7FFFF000,
arecord 0x80000000, others 0x7FFFFFFF. Some encoders subtract the size of the header from these values.
"""
_ALL_ONES: Final = 0xFFFF_FFFF_FFFF_FFFF


class WavHead(NamedTuple):
    """The header of a WAV file, up to its samples."""

    form: bytes
    """The content of the `fmt ` chunk, without the chunk's header."""
    begins: int
    """Offset of the first sample."""
    size: int | None
    """Bytes of samples; None if unknown."""

    @property
    def channels(self) -> int:
        """The number of channels."""
        return int.from_bytes(self.form[2:4], "little")

    @property
    def sample_rate_hz(self) -> int:
        """The frames per second."""
        return int.from_bytes(self.form[4:8], "little")

    @property
    def bytes_per_second(self) -> int:
        """The bytes per second; 0 if the header does not contain this number."""
        return int.from_bytes(self.form[8:12], "little")

    @property
    def frame_bytes(self) -> int:
        """The bytes of one frame, which contains one sample for each channel."""
        return int.from_bytes(self.form[12:14], "little")

    def cut(self, size: int) -> int:
        """Return *size* rounded down to whole frames."""
        return size - size % self.frame_bytes


def is_unknown_length(size: int) -> bool:
    """Return whether *size*, of the RIFF or the data chunk, means that the encoder did not know the length."""
    return size == 0 or size >= _LONGEST


def read_wav_head(data: bytes | bytearray) -> WavHead | None:
    """Return the header; None if *data* ends before the samples.

    If the header gives the data chunk 0 bytes, `size` is 0, not None. Then the chunk is empty or has an unknown length,
    and the rest of the file shows which.

    Raises:
        NotAudio: *data* is not a WAV file, or has no valid chunk `fmt ` before the samples.
    """
    if len(data) < 12:
        return None
    if bytes(data[:4]) not in (b"RIFF", b"RF64") or bytes(data[8:12]) != b"WAVE":
        raise _make_error("not a WAV file: it does not begin with RIFF and WAVE")
    at, form, large = 12, b"", 0
    while at + 8 <= len(data):
        name, size = bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            return _make_head(form, at, large or None if size and is_unknown_length(size) else size)
        if name == b"fmt ":
            form = bytes(data[at : at + size])
        elif name == b"ds64" and len(data) >= at + 16:
            # RF64 stores its two lengths here, with 64 bits each. A streaming encoder writes 0 or all ones.
            length = int.from_bytes(data[at + 8 : at + 16], "little")
            large = 0 if length == _ALL_ONES else length
        at += size + size % 2
    return None


def repair_wav(audio: bytes) -> tuple[bytes, WavHead]:
    """Return the WAV file with the right lengths in its header, and the parsed header.

    `WavHead.size` of the result is a multiple of the frame size.

    A file of unknown length is cut after its last whole frame. If the header contains the length, the samples are not
    examined, so `size` may be larger than the number of bytes in the file.

    Raises:
        NotAudio: *audio* is not a WAV file, ends before the samples, or has no valid chunk `fmt `.
    """
    head = read_wav_head(audio)
    if head is None:
        raise NotAudio("the WAV file is cut short: it ends before its samples", expected="a whole audio file")
    available = len(audio) - head.begins
    riff = int.from_bytes(audio[4:8], "little")
    # A data chunk may really be empty and be followed by other chunks. Then the length in the RIFF header is right.
    unknown = head.size is None or (head.size == 0 and available > 0 and riff + 8 != len(audio))
    size = head.cut(available if unknown or head.size is None else head.size)
    known = head._replace(size=size)
    if unknown:
        samples = audio[head.begins : head.begins + size] + b"\0" * (size % 2)
        front = (
            audio[8 : head.begins - 4].replace(b"ds64", b"JUNK", 1)
            if audio[:4] == b"RF64"
            else audio[8 : head.begins - 4]
        )
        return b"".join([b"RIFF", _pack(len(front) + 4 + len(samples)), front, _pack(size), samples]), known
    if audio[:4] == b"RIFF" and is_unknown_length(riff) and riff + 8 != len(audio):
        audio = audio[:4] + _pack(len(audio) - 8) + audio[8:]
    return audio, known


def _make_head(form: bytes, begins: int, size: int | None) -> WavHead:
    head = WavHead(form, begins, size)
    if len(form) < 16 or not (head.channels and head.sample_rate_hz and head.frame_bytes):
        raise _make_error("the WAV file does not describe the format of its samples")
    return head


def _pack(size: int) -> bytes:
    return struct.pack("<I", min(size, UNKNOWN))


def _make_error(what: str) -> NotAudio:
    return NotAudio(what, expected="a whole audio file")
