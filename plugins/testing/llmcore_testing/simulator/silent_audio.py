"""Make silent MP3, AAC, Opus and FLAC files without an encoder. All players accept the files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["make_aac", "make_flac", "make_mp3", "make_opus"]

_MPEG_1: Final = {44100: 0, 48000: 1, 32000: 2}
_MPEG_2: Final = {22050: 0, 24000: 1, 16000: 2}
_RATES_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_RATES_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_ADTS_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_SILENT_AAC: Final = bytes.fromhex("00c800802380")
_SILENT_OPUS: Final = b"\xf8\xff\xfe"
_OPUS_FRAME: Final = 960
"""The number of samples in a packet: 20 ms at 48 kHz."""
_OPUS_SKIP: Final = 312
_PER_PAGE: Final = 50
_FLAC_BLOCK: Final = 4096
_FLAC_RATES: Final = {8000: 4, 16000: 5, 22050: 6, 24000: 7, 32000: 8, 44100: 9, 48000: 10}


def make_mp3(seconds: float, rate_hz: int, kbps: int, mark: int) -> bytes:
    """Return mono layer III frames of constant size. *mark* is written to bytes that decoders ignore, so that files differ."""
    if rate_hz in _MPEG_1:
        kind, samples, size = 0xFB, 1152, 144 * kbps * 1000 // rate_hz
        quality = _RATES_1.index(kbps) << 4 | _MPEG_1[rate_hz] << 2
    else:
        kind, samples, size = 0xF3, 576, 72 * kbps * 1000 // rate_hz
        quality = _RATES_2.index(kbps) << 4 | _MPEG_2[rate_hz] << 2
    head = bytes((0xFF, kind, quality, 0xC0))
    # All-zero side information declares an empty frame, so decoders skip the remaining bytes.
    frame = head + bytes(size - 8) + struct.pack(">I", mark & 0x7F7F7F7F)
    return frame * _count(seconds, rate_hz, samples)


def make_aac(seconds: float, rate_hz: int) -> bytes:
    """Return mono ADTS frames."""
    size = 7 + len(_SILENT_AAC)
    index = _ADTS_RATES.index(rate_hz)
    head = bytes((0xFF, 0xF1, 1 << 6 | index << 2, 1 << 6, size >> 3, (size & 7) << 5 | 0x1F, 0xFC))
    return (head + _SILENT_AAC) * _count(seconds, rate_hz, 1024)


def make_opus(seconds: float, mark: int) -> bytes:
    """Return an Ogg file of Opus packets at 48 kHz. *mark* becomes the serial number of the stream."""
    return b"".join(_make_opus_pages(_count(seconds, 48_000, _OPUS_FRAME), mark))


def make_flac(seconds: float, rate_hz: int, mark: int) -> bytes:
    """Return a FLAC file in which all samples have the same value, derived from *mark*."""
    count = _count(seconds, rate_hz, _FLAC_BLOCK)
    packed = rate_hz << 44 | 15 << 36 | count * _FLAC_BLOCK  # one channel of 16 bits
    info = struct.pack(">HH3s3sQ16s", _FLAC_BLOCK, _FLAC_BLOCK, b"", b"", packed, b"")
    level = struct.pack(">h", mark % 512)
    return (
        b"fLaC\x80\x00\x00\x22" + info + b"".join(_make_flac_frame(at, rate_hz, level) for at in range(count))
    )


def _count(seconds: float, rate_hz: int, samples: int) -> int:
    return max(2, round(seconds * rate_hz / samples))


def _make_opus_pages(count: int, serial: int) -> Iterator[bytes]:
    yield _make_page(2, 0, serial, 0, [b"OpusHead" + struct.pack("<BBHIHB", 1, 1, _OPUS_SKIP, 48_000, 0, 0)])
    yield _make_page(0, 0, serial, 1, [b"OpusTags" + struct.pack("<I", 9) + b"simulator" + bytes(4)])
    for start in range(0, count, _PER_PAGE):
        end = min(start + _PER_PAGE, count)
        kind = 4 if end == count else 0
        granule = end * _OPUS_FRAME
        yield _make_page(kind, granule, serial, 2 + start // _PER_PAGE, [_SILENT_OPUS] * (end - start))


def _make_page(kind: int, granule: int, serial: int, number: int, packets: list[bytes]) -> bytes:
    sizes = bytes(len(packet) for packet in packets)
    head = struct.pack("<4sBBQIIIB", b"OggS", 0, kind, granule, serial, number, 0, len(sizes))
    page = head + sizes + b"".join(packets)
    return page[:22] + struct.pack("<I", _compute_crc(page, 32)) + page[26:]


def _make_flac_frame(number: int, rate_hz: int, level: bytes) -> bytes:
    # FLAC encodes frame numbers like UTF-8, including the range of the surrogates.
    head = bytes((0xFF, 0xF8, 0xC0 | _FLAC_RATES[rate_hz], 0x08)) + _encode_number(number)
    frame = head + bytes([_compute_crc(head, 8)]) + b"\x00" + level
    return frame + struct.pack(">H", _compute_crc(frame, 16))


def _encode_number(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _make_table(polynomial: int, width: int) -> tuple[int, ...]:
    top, mask = 1 << (width - 1), (1 << width) - 1
    table = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial) & mask if value & top else value << 1
        table.append(value & mask)
    return tuple(table)


_TABLES: Final = {8: _make_table(0x07, 8), 16: _make_table(0x8005, 16), 32: _make_table(0x04C11DB7, 32)}
"""CRC tables by width: 8 bits for FLAC headers, 16 for FLAC frames, 32 for Ogg pages."""


def _compute_crc(data: bytes, width: int) -> int:
    table, value, mask = _TABLES[width], 0, (1 << width) - 1
    for byte in data:
        value = (value << 8 & mask) ^ table[(value >> (width - 8)) ^ byte]
    return value
