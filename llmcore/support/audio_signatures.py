"""Detect the audio format from the first bytes. The host and all voice plugins use these rules."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the formats

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

from llmcore.types import AudioFormat

__all__ = ["HEAD_BYTES", "RAW", "Mp3Frame", "detect_format", "has_enough_bytes", "is_text", "read_mp3_frame"]

HEAD_BYTES: Final = 64
"""For a format with a signature, this many bytes are examined before the first byte of an answer is passed on."""
RAW: Final[frozenset[AudioFormat]] = frozenset({"pcm", "ulaw", "alaw"})
"""Formats without a signature: they contain only samples.

Data is accepted as samples if it is not text and not another format.
"""
_TEXT_BYTES: Final = 256
"""The number of bytes to examine to distinguish text from samples."""

_CONTROLS: Final = bytes([*range(9), 11, *range(14, 32), 127])
_OPENING: Final = (b"{", b"[", b"<")
_MOSTLY: Final = 0.9
_WIDE: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_MPEG1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Mp3Frame(NamedTuple):
    """The header of one MP3 frame."""

    size: int
    """The length of the frame in bytes, including the header."""
    samples: int
    sample_rate_hz: int
    channels: int


def read_mp3_frame(data: bytes | bytearray, at: int) -> Mp3Frame | None:
    """Return the layer III frame at the offset *at*; None if no header of such a frame begins there."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return None
    version, rate, bits = data[at + 1] >> 3 & 3, data[at + 2] >> 2 & 3, data[at + 2] >> 4
    if version == 1 or rate == 3 or bits in (0, 15):
        return None
    hertz = _RATES[version][rate]
    kilobits, samples = (_MPEG1[bits], 1152) if version == 3 else (_MPEG2[bits], 576)
    size = samples // 8 * kilobits * 1000 // hertz + (data[at + 2] >> 1 & 1)
    return Mp3Frame(size, samples, hertz, 1 if data[at + 3] >> 6 == 3 else 2)


def is_text(data: bytes) -> bool:
    """Return whether *data* begins with text: UTF-8, UTF-16 with a byte order mark, or markup in any encoding.

    Data with a control character other than whitespace is not text. A single repeated byte is silence, not
    text.
    """
    head = data[:_TEXT_BYTES]
    if head[:2] in _WIDE:
        return _is_wide(head[2:], _WIDE[head[:2]])
    if head.translate(None, _CONTROLS) != head or (len(set(head)) == 1 < len(head) and not head.isspace()):
        return False
    try:
        codecs.utf_8_decode(head, "strict", False)  # noqa: FBT003 - False allows that the last character is cut
    except UnicodeDecodeError:
        plain = sum(byte < 128 for byte in head)
        return head.lstrip().startswith(_OPENING) and plain >= _MOSTLY * len(head)
    return bool(head)


def _is_wide(head: bytes, coding: str) -> bool:
    """Return whether *head* is UTF-16 text with mostly ASCII characters.

    Quiet samples, which look similar, are not text.
    """
    try:
        text = head[: len(head) // 2 * 2].decode(coding)
    except UnicodeDecodeError:
        return False
    plain = sum(letter.isascii() for letter in text)
    return 2 * plain > len(text) and all(letter >= " " or letter.isspace() for letter in text)


def detect_format(data: bytes, *, frames: int = 1) -> AudioFormat | None:
    """Return the format of a file that begins with *data*; None if the bytes do not identify it.

    Args:
        data: The file or its beginning.
        frames: The number of consecutive MP3 frames to require, because raw samples may contain one frame header by
            chance.
    """
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] in (b"OggS", b"fLaC"):
        return "ogg" if data[:4] == b"OggS" else "flac"
    if data[:3] == b"ID3" and len(data) >= 10 and max(data[3:5]) < 0xFF and max(data[6:10]) < 0x80:
        return "mp3"
    at = 0
    for _ in range(frames):
        frame = read_mp3_frame(data, at)
        if frame is None:
            return None
        at += frame.size
    return "mp3"


def has_enough_bytes(data: bytes, kind: AudioFormat) -> bool:
    """Return whether *data* is long enough for a check of the format *kind*."""
    if kind not in RAW:
        return len(data) >= HEAD_BYTES
    frame = read_mp3_frame(data, 0)
    return len(data) >= max(_TEXT_BYTES, 0 if frame is None else frame.size + 4)
