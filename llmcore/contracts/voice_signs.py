"""By which signs audio is told from what is none: one text for the host and for every plugin that asks a server to speak."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the formats

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

from llmcore.types import AudioFormat

__all__ = ["HEAD_BYTES", "RAW", "Mp3Frame", "is_text", "kind_of", "looked_at", "mp3_frame"]

HEAD_BYTES: Final = 64
"""So much of what has a sign of its own is looked at before any of it is passed on."""
RAW: Final[frozenset[AudioFormat]] = frozenset({"pcm", "ulaw", "alaw"})
"""Samples alone: they have no sign of their own, and are whatever is neither text nor another format."""
_TEXT_BYTES: Final = 256
"""By so many text is told from samples, where they are there."""

_CONTROLS: Final = bytes([*range(9), 11, *range(14, 32), 127])
_OPENING: Final = (b"{", b"[", b"<")
_MOSTLY: Final = 0.9
_WIDE: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_MPEG1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Mp3Frame(NamedTuple):
    """What the head of one frame says."""

    size: int
    """Bytes, its head included."""
    samples: int
    sample_rate_hz: int
    channels: int


def mp3_frame(data: bytes | bytearray, at: int) -> Mp3Frame | None:
    """Return the frame of layer III whose head stands at *at*, None where there is none."""
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
    """Return whether the beginning of *data* is text: UTF-8, UTF-16 with its mark, or markup of whatever coding.

    It holds no control character but space. One byte again and again is silence.
    """
    head = data[:_TEXT_BYTES]
    if head[:2] in _WIDE:
        return _is_wide(head[2:], _WIDE[head[:2]])
    if head.translate(None, _CONTROLS) != head or (len(set(head)) == 1 < len(head) and not head.isspace()):
        return False
    try:
        codecs.utf_8_decode(head, "strict", False)  # noqa: FBT003 - its last character may be cut
    except UnicodeDecodeError:
        plain = sum(byte < 128 for byte in head)
        return head.lstrip().startswith(_OPENING) and plain >= _MOSTLY * len(head)
    return bool(head)


def _is_wide(head: bytes, coding: str) -> bool:
    """Return whether *head* is text of two bytes a character, most of them of the English ones; quiet samples are not."""
    try:
        text = head[: len(head) // 2 * 2].decode(coding)
    except UnicodeDecodeError:
        return False
    plain = sum(letter.isascii() for letter in text)
    return 2 * plain > len(text) and all(letter >= " " or letter.isspace() for letter in text)


def kind_of(data: bytes, *, frames: int = 1) -> AudioFormat | None:
    """Return the format that a file with a beginning like *data* must be; None where its bytes do not say.

    Args:
        data: The file or its beginning.
        frames: So many of MP3 have to follow one another: among raw samples one may stand by chance.
    """
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] in (b"OggS", b"fLaC"):
        return "ogg" if data[:4] == b"OggS" else "flac"
    if data[:3] == b"ID3" and len(data) >= 10 and max(data[3:5]) < 0xFF and max(data[6:10]) < 0x80:
        return "mp3"
    at = 0
    for _ in range(frames):
        frame = mp3_frame(data, at)
        if frame is None:
            return None
        at += frame.size
    return "mp3"


def looked_at(data: bytes, kind: AudioFormat) -> bool:
    """Return whether so much of an answer that is to be of *kind* is there that its signs can be read."""
    if kind not in RAW:
        return len(data) >= HEAD_BYTES
    frame = mp3_frame(data, 0)
    return len(data) >= max(_TEXT_BYTES, 0 if frame is None else frame.size + 4)
