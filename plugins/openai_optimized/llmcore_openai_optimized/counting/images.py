"""Compute the tokens of images from their size in pixels, read from the first bytes of a data URL."""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Final, NamedTuple

from llmcore_openai_optimized.counting.models import Family
from llmcore_openai_optimized.counting.parsed_request import Picture

__all__ = ["Cost", "get_image_cost", "get_max_image_cost"]

_TILES: Final = (
    # name, base tokens, tokens for each tile of 512 by 512
    (re.compile(r"gpt-4o-mini"), 2833, 5667),
    (re.compile(r"o[13](?:$|-)"), 75, 150),
    (re.compile(r"gpt-5"), 70, 140),
    (re.compile(r"computer-use"), 65, 129),
    (re.compile(r"gpt-4|chatgpt-4o"), 85, 170),
)
_PATCHES: Final = (
    # name, hundredths of a token for each patch of 32 by 32, tokens for each image
    (re.compile(r"gpt-4\.1-mini"), 162, 2),  # measured: 488 tokens for 300 patches, 181 for 110
    (re.compile(r"gpt-4\.1-nano"), 246, 1),  # measured: 503 tokens for 204 patches
    (re.compile(r"o4-mini"), 172, 1),  # measured: 517 tokens for 300 patches
    (re.compile(r"gpt-5(?:\.\d+)?-mini"), 120, 2),  # measured: 413 tokens for 342 patches, 158 for 130
    (re.compile(r"gpt-5(?:\.\d+)?-nano"), 150, 2),
)
_MOST_PATCHES: Final = 1536
_MOST: Final = 48_200
"""The maximum tokens of an image for any model: eight tiles on gpt-4o-mini."""


_MARK: Final = 0xFF
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Segments of a JPEG that contain its size."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Segments of a JPEG that have no length field."""


class Cost(NamedTuple):
    """The tokens of an image."""

    tokens: int
    known: bool
    most: int


def get_image_cost(picture: Picture, family: Family) -> Cost:
    """Return the tokens of *picture*. If the size of the image is unknown, return a typical value and the maximum."""
    size = _read_image_size(picture.url)
    for pattern, hundredths, more in _PATCHES:
        if pattern.match(family.name):
            most = math.ceil(_MOST_PATCHES * 2.46) + 1
            if size is None:
                return Cost(most // 2, known=False, most=most)
            tokens = -(-_count_patches(*size) * hundredths // 100) + more
            return Cost(tokens, known=not family.gpt5, most=max(most, tokens))
    for pattern, base, tile in _TILES:
        if pattern.match(family.name):
            most = _MOST if family.gpt5 else base + 8 * tile
            if picture.detail == "low":
                return Cost(base, known=not family.gpt5, most=most)
            if size is None:
                return Cost(base + 4 * tile, known=False, most=most)
            return Cost(base + tile * _count_tiles(*size), known=not family.gpt5, most=most)
    return Cost(765, known=False, most=_MOST)


def get_max_image_cost(picture: Picture, family: Family) -> int:
    """Return the maximum tokens of *picture*."""
    cost = get_image_cost(picture, family)
    return cost.tokens if cost.known else cost.most


def _count_tiles(width: float, height: float) -> int:
    shrink = min(1.0, 2048 / max(width, height))
    width, height = width * shrink, height * shrink
    shrink = min(1.0, 768 / min(width, height))
    return math.ceil(round(width * shrink, 3) / 512) * math.ceil(round(height * shrink, 3) / 512)


def _count_patches(width: float, height: float) -> int:
    patches = math.ceil(width / 32) * math.ceil(height / 32)
    if patches <= _MOST_PATCHES:
        return patches
    shrink = math.sqrt(32 * 32 * _MOST_PATCHES / (width * height))
    across, down = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(across) / across, math.floor(down) / down)
    return math.ceil(width * shrink / 32 - 1e-9) * math.ceil(height * shrink / 32 - 1e-9)


def _read_image_size(url: str) -> tuple[int, int] | None:
    """Return width and height of the image in a data URL; None if unknown."""
    head, _, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        return None
    # A JPEG may contain a preview and a color profile before its size; other formats need at most 32 bytes.
    start = "".join(data[: 1 << 20].split()).rstrip("=")
    try:
        size = _read_size(base64.b64decode(start[: len(start) // 4 * 4]))
    except (binascii.Error, ValueError):
        return None
    return size if size and min(size) > 0 else None


def _read_size(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_big_endian(data[16:20]), _read_big_endian(data[20:24])
    if data.startswith(b"GIF8"):
        return _read_little_endian(data[6:8]), _read_little_endian(data[8:10])
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _read_webp_size(data)
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg_size(data)
    return None


def _read_webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        return _read_little_endian(data[26:28]) & 0x3FFF, _read_little_endian(data[28:30]) & 0x3FFF
    if kind == b"VP8L":
        both = _read_little_endian(data[21:25])
        return (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return _read_little_endian(data[24:27]) + 1, _read_little_endian(data[27:30]) + 1
    return None


def _read_jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != _MARK or data[at + 1] == _MARK:
            at += 1
            continue
        marker = data[at + 1]
        if marker in _FRAMES:
            return _read_big_endian(data[at + 7 : at + 9]), _read_big_endian(data[at + 5 : at + 7])
        at += 2 if marker in _ALONE else 2 + _read_big_endian(data[at + 2 : at + 4])
    return None


def _read_big_endian(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _read_little_endian(data: bytes) -> int:
    return int.from_bytes(data, "little")
