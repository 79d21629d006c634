"""FLAC: its head tells the length, its last frame whether the end is there."""

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
        NotAudio: It is no FLAC, or its last frame is not whole.
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
    if not _ends_whole(audio, at, int.from_bytes(info[7:10], "big")):
        raise cut("flac", "its last frame is not whole")
    return Heard(audio, rate, channels, samples / rate if samples else None)


def _ends_whole(audio: bytes, begins: int, longest: int) -> bool:
    """Return whether the bytes at the end are a frame with the sum of its bytes behind it.

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
            return True
        at = audio.rfind(b"\xff", floor, at)
    return False


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
