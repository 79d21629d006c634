"""MP3 and ADTS (AAC): files that are a row of frames, each of which tells its own length."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from llmcore.contracts.voice_signs import Mp3Frame, mp3_frame
from llmcore.voice.audio.heard import Heard, broken, cut

__all__ = [
    "HEAD_BYTES",
    "announcing",
    "hear_adts",
    "hear_mp3",
    "tag_bytes",
    "tells_only",
]

HEAD_BYTES: Final = 10
"""Enough of a frame or a tag to know its length."""
_LAST_TAG: Final = 128

_ADTS_RATES: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
)  # fmt: skip


def tag_bytes(data: bytes | bytearray, at: int) -> int:
    """Return the length of the ID3v2 tag that stands at *at*, 0 where there is none."""
    if bytes(data[at : at + 3]) != b"ID3" or len(data) < at + 10:
        return 0
    size = 0
    for byte in data[at + 6 : at + 10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if data[at + 5] & 0x10 else 10)


def tells_only(data: bytes | bytearray, at: int, frame: Mp3Frame) -> int | None:
    """Return how many frames the one at *at* announces where it holds no sound but facts (Xing, Info, VBRI).

    Returns None for a frame of sound, 0 where facts are there and no number among them.
    """
    mono, first = frame.channels == 1, frame.samples == 1152
    side = (17 if mono else 32) if first else (9 if mono else 17)
    start = at + 4 + side
    if bytes(data[start : start + 4]) in (b"Xing", b"Info"):
        flags = int.from_bytes(data[start + 4 : start + 8], "big")
        return int.from_bytes(data[start + 8 : start + 12], "big") if flags & 1 else 0
    if bytes(data[at + 36 : at + 40]) == b"VBRI":
        return int.from_bytes(data[at + 50 : at + 54], "big")
    return None


def announcing(sound: bytes) -> bytes:
    """Return the frame that tells a player how long *sound*, frames in a row, is; without it a length is guessed."""
    first, count, sizes = mp3_frame(sound, 0), 0, set()
    for _, frame in _mp3_frames(sound):
        count += 1
        sizes.add(frame.size)
    if first is None:
        return b""
    head = bytearray(sound[:4])
    head[1] |= 1  # no sum of its bytes behind the head
    side = {(1152, 1): 17, (1152, 2): 32, (576, 1): 9, (576, 2): 17}[first.samples, first.channels]
    facts = bytes(side) + (b"Xing" if max(sizes) - min(sizes) > 1 else b"Info") + (3).to_bytes(4, "big")
    for bits in range(1, 15):
        head[2] = bits << 4 | head[2] & 0x0D  # no padding
        fitting = mp3_frame(head, 0)
        if fitting is not None and fitting.size >= len(facts) + 12:
            numbers = count.to_bytes(4, "big") + (len(sound) + fitting.size).to_bytes(4, "big")
            return (bytes(head) + facts + numbers).ljust(fitting.size, b"\0")
    return b""


def hear_mp3(audio: bytes) -> Heard:
    """Return what the frames say.

    Raises:
        NotAudio: There are none, one is cut, or fewer than the file announces.
    """
    count, announced, samples = 0, 0, 0
    first: Mp3Frame | None = None
    for at, frame in _mp3_frames(audio):
        told = tells_only(audio, at, frame) if first is None and not announced else None
        if told is not None:
            announced = told
            continue
        first = first or frame
        count += 1
        samples += frame.samples
    if first is None:
        raise broken("the mp3 has no sound in it")
    if count + 1 < announced:
        raise cut("mp3", f"{count:,} of {announced:,} frames")
    return Heard(audio, first.sample_rate_hz, first.channels, samples / first.sample_rate_hz)


def _mp3_frames(audio: bytes) -> Iterator[tuple[int, Mp3Frame]]:
    at, end = 0, len(audio)
    if audio[-_LAST_TAG:-125] == b"TAG":
        end -= _LAST_TAG
    while at < end:
        tag = tag_bytes(audio, at)
        if tag:
            at += tag
            continue
        frame = mp3_frame(audio, at)
        if frame is None:
            if not audio[at:end].strip(b"\0"):
                return
            raise (
                cut("mp3", "its last frame has no head")
                if end - at < 4
                else broken(f"this is no mp3: no frame begins at byte {at:,}")
            )
        if at + frame.size > end:
            raise cut("mp3", f"{end - at} of the {frame.size} bytes of its last frame")
        yield at, frame
        at += frame.size
    if at > end:
        raise cut("mp3", "it ends within its tag")


def hear_adts(audio: bytes) -> Heard:
    """Return what the frames say; of AAC in an MP4 container nothing but that it is there.

    Raises:
        NotAudio: There are none, or one is cut.
    """
    if audio[4:8] == b"ftyp" or audio[:4] == b"ADIF":
        return Heard(audio, None, None, None)
    at, samples, rate, channels = 0, 0, 0, 0
    while at < len(audio):
        head = audio[at : at + 7]
        if (
            len(head) < 7
            or head[0] != 0xFF
            or head[1] & 0xF6 != 0xF0
            or head[2] >> 2 & 15 >= len(_ADTS_RATES)
        ):
            raise (
                broken(f"this is no aac: no frame begins at byte {at:,}")
                if len(head) == 7 or not at
                else cut("aac", "its last frame has no head")
            )
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if size < 7 or at + size > len(audio):
            raise cut("aac", f"{len(audio) - at} of the {size} bytes of its last frame")
        rate = rate or _ADTS_RATES[head[2] >> 2 & 15]
        channels = channels or ((head[2] & 1) << 2 | head[3] >> 6)
        samples += 1024 * (1 + (head[6] & 3))
        at += size
    if not samples:
        raise broken("the aac has no sound in it")
    return Heard(audio, rate, channels, samples / rate)
