"""Check FLAC files: the header has the length, and the last frame must be complete."""

# ruff: noqa: PLR2004 - the numbers are sizes, offsets and marks of the format

from __future__ import annotations

from functools import cache
from typing import Final

from llmcore.voice.audio.info import AudioInfo, make_not_audio, make_truncated

__all__ = ["read"]

_INFO_BYTES: Final = 34
_LONGEST_HEAD: Final = 16
_LOOKED_AT: Final = 256 * 1024
"""If the file does not declare the maximum frame size, the last frame is searched for in this many bytes at the end."""


def read(audio: bytes) -> AudioInfo:
    """Return the sample rate, channels and duration.

    Raises:
        NotAudio: *audio* is not FLAC, or is truncated.
    """
    if audio[:4] != b"fLaC":
        raise make_not_audio("not a flac file: the signature is missing")
    at, last, info = 4, False, b""
    while not last:
        if len(audio) < at + 4:
            raise make_truncated("flac", "it ends inside its header")
        last, kind = bool(audio[at] & 0x80), audio[at] & 0x7F
        size = int.from_bytes(audio[at + 1 : at + 4], "big")
        if kind == 0:
            info = audio[at + 4 : at + 4 + size]
        at += 4 + size
    if len(info) < _INFO_BYTES or at >= len(audio):
        raise make_truncated("flac", "it has no frame")
    rate = int.from_bytes(info[10:13], "big") >> 4
    samples = int.from_bytes(info[13:18], "big") & 0xFFFFFFFFF
    channels = (info[12] >> 1 & 7) + 1
    if not rate:
        raise make_not_audio("the flac file has no sample rate")
    frame = _find_last_frame(audio, at, int.from_bytes(info[7:10], "big"))
    if frame is None:
        raise make_truncated("flac", "its last frame is incomplete")
    there = _count_samples(audio[frame:], int.from_bytes(info[2:4], "big"))
    if there < samples:
        raise make_truncated("flac", f"{there:,} of {samples:,} samples")
    return AudioInfo(audio, rate, channels, samples / rate if samples else None)


def _find_last_frame(audio: bytes, begins: int, longest: int) -> int | None:
    """Return the start of the last frame.

    The result is None if the file does not end with a frame that has a valid checksum.

    Args:
        audio: The file.
        begins: The start of the first frame.
        longest: The maximum bytes of a frame; 0 if unknown.
    """
    floor = max(begins, len(audio) - (longest or _LOOKED_AT))
    at = audio.rfind(b"\xff", floor)
    while at >= 0:
        sync = audio[at + 1 : at + 2] in (b"\xf8", b"\xf9")
        if sync and _is_frame_head(audio, at) and _compute_crc16(audio[at:]) == 0:
            return at
        at = audio.rfind(b"\xff", floor, at)
    return None


def _count_samples(frame: bytes, block: int) -> int:
    """Return the number of samples up to the end of *frame*.

    Args:
        frame: The bytes of the frame, beginning with the header.
        block: The number of samples in each frame except the last, if all frames have the same size.
    """
    # The frame number is encoded like UTF-8, with up to seven bytes.
    ones = 8 - (~frame[4] & 0xFF).bit_length()
    more = max(0, ones - 1)
    number = frame[4] & 0x7F >> ones
    for byte in frame[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    size, behind = frame[2] >> 4, 5 + more
    if size == 1:
        own = 192
    elif size < 6:
        own = 144 << size
    elif size < 8:
        own = int.from_bytes(frame[behind : behind + size - 5], "big") + 1
    else:
        own = 1 << size
    counts_samples = bool(frame[1] & 1)
    return (number if counts_samples else number * block) + own


def _is_frame_head(audio: bytes, at: int) -> bool:
    """Return whether a frame header begins at the offset *at*.

    The header's checksum must be valid for one of the possible lengths.
    """
    head = audio[at : at + _LONGEST_HEAD]
    return any(_compute_crc8(head[:size]) == 0 for size in range(6, len(head) + 1))


def _compute_crc8(data: bytes) -> int:
    table, value = _make_table(0x07, 8), 0
    for byte in data:
        value = table[value ^ byte]
    return value


def _compute_crc16(data: bytes) -> int:
    table, value = _make_table(0x8005, 16), 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ table[value >> 8 ^ byte]
    return value


@cache
def _make_table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask, table = 1 << bits - 1, (1 << bits) - 1, []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)
