"""FLAC: its head tells the length, its last frame whether the end is there."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

from functools import cache
from typing import Final

from llmcore.voice.audio.heard import Heard, broken, cut

__all__ = ["hear"]

_INFO_BYTES: Final = 34
_LONGEST_HEAD: Final = 16
_LOOKED_AT: Final = 256 * 1024
"""Bytes at the end among which the last frame is looked for, where the file does not say how long a frame can be."""


def hear(audio: bytes) -> Heard:
    """Return what the head says.

    Raises:
        NotAudio: It is no FLAC, its last frame is not whole, or frames are missing behind it.
    """
    if audio[:4] != b"fLaC":
        raise broken("this is no flac: its head does not say so")
    at, last, info = 4, False, b""
    while not last:
        if len(audio) < at + 4:
            raise cut("flac", "it ends within its head")
        last, kind = bool(audio[at] & 0x80), audio[at] & 0x7F
        size = int.from_bytes(audio[at + 1 : at + 4], "big")
        if kind == 0:
            info = audio[at + 4 : at + 4 + size]
        at += 4 + size
    if len(info) < _INFO_BYTES or at >= len(audio):
        raise cut("flac", "there is no frame")
    rate = int.from_bytes(info[10:13], "big") >> 4
    samples = int.from_bytes(info[13:18], "big") & 0xFFFFFFFFF
    channels = (info[12] >> 1 & 7) + 1
    if not rate:
        raise broken("the flac does not say its rate")
    frame = _last_frame(audio, at, int.from_bytes(info[7:10], "big"))
    if frame is None:
        raise cut("flac", "its last frame is not whole")
    there = _samples_to_the_end_of(audio[frame:], int.from_bytes(info[2:4], "big"))
    if there < samples:
        raise cut("flac", f"{there:,} of {samples:,} samples")
    return Heard(audio, rate, channels, samples / rate if samples else None)


def _last_frame(audio: bytes, begins: int, longest: int) -> int | None:
    """Return where the frame begins that the file ends with, None where the sum of its bytes is not behind it.

    Args:
        audio: The file.
        begins: Where the frames begin.
        longest: Bytes of its longest frame; 0 where it does not say.
    """
    floor = max(begins, len(audio) - (longest or _LOOKED_AT))
    at = audio.rfind(b"\xff", floor)
    while at >= 0:
        sync = audio[at + 1 : at + 2] in (b"\xf8", b"\xf9")
        if sync and _is_head(audio, at) and _crc16(audio[at:]) == 0:
            return at
        at = audio.rfind(b"\xff", floor, at)
    return None


def _samples_to_the_end_of(frame: bytes, block: int) -> int:
    """Return how many samples of the file have been when *frame* ends.

    Args:
        frame: From its head on.
        block: Samples of each frame but the last, where all are of one size.
    """
    # Its number is written as a character is in UTF-8, only longer.
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


def _is_head(audio: bytes, at: int) -> bool:
    """Return whether a frame's head stands there: the sum behind it fits for one of the lengths that it may have."""
    head = audio[at : at + _LONGEST_HEAD]
    return any(_crc8(head[:size]) == 0 for size in range(6, len(head) + 1))


def _crc8(data: bytes) -> int:
    table, value = _table(0x07, 8), 0
    for byte in data:
        value = table[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    table, value = _table(0x8005, 16), 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ table[value >> 8 ^ byte]
    return value


@cache
def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask, table = 1 << bits - 1, (1 << bits) - 1, []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)
