"""Check MP3 and ADTS (AAC) files, which are sequences of frames; each frame declares its length."""

# ruff: noqa: PLR2004 - the numbers are sizes, offsets and marks of the format

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from llmcore.support.audio_signatures import Mp3Frame, read_mp3_frame
from llmcore.voice.audio.info import AudioInfo, make_not_audio, make_truncated

__all__ = [
    "HEAD_BYTES",
    "make_length_frame",
    "read_adts",
    "read_adts_size",
    "read_frame_count",
    "read_mp3",
    "read_mp3_size",
    "read_tag_size",
]

HEAD_BYTES: Final = 10
"""The number of bytes at the start of a frame or tag that contain its length."""
_LAST_TAG: Final = 128

_ADTS_RATES: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
)  # fmt: skip


def read_mp3_size(data: bytes | bytearray, at: int) -> int:
    """Return the size of the MP3 frame at the offset *at*; 0 if no frame begins there."""
    frame = read_mp3_frame(data, at)
    return 0 if frame is None else frame.size


def read_adts_size(data: bytes | bytearray, at: int) -> int:
    """Return the size of the ADTS frame at the offset *at*; 0 if no frame begins there."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_ADTS_RATES):
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size >= 7 else 0


def read_tag_size(data: bytes | bytearray, at: int) -> int:
    """Return the size of the ID3v2 tag at the offset *at*; 0 if no tag begins there."""
    if bytes(data[at : at + 3]) != b"ID3" or len(data) < at + 10:
        return 0
    size = 0
    for byte in data[at + 6 : at + 10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if data[at + 5] & 0x10 else 10)


def read_frame_count(data: bytes | bytearray, at: int, frame: Mp3Frame) -> int | None:
    """Return the number of frames that the header frame (Xing, Info, VBRI) at the offset *at* declares.

    The result is None for an audio frame, and 0 for a header frame that does not declare the number.
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


def make_length_frame(sound: bytes) -> bytes:
    """Return a header frame with the length of *sound*, a sequence of frames.

    Without this frame, players guess the length. The result is empty if *sound* has no frame, or if no frame size has
    room for the header.
    """
    first, count, sizes = read_mp3_frame(sound, 0), 0, set()
    for _, frame in _iterate_mp3_frames(sound):
        count += 1
        sizes.add(frame.size)
    if first is None:
        return b""
    head = bytearray(sound[:4])
    head[1] |= 1  # no checksum after the header
    side = {(1152, 1): 17, (1152, 2): 32, (576, 1): 9, (576, 2): 17}[first.samples, first.channels]
    facts = bytes(side) + (b"Xing" if max(sizes) - min(sizes) > 1 else b"Info") + (3).to_bytes(4, "big")
    for bits in range(1, 15):
        head[2] = bits << 4 | head[2] & 0x0D  # no padding
        fitting = read_mp3_frame(head, 0)
        if fitting is not None and fitting.size >= len(facts) + 12:
            numbers = count.to_bytes(4, "big") + (len(sound) + fitting.size).to_bytes(4, "big")
            return (bytes(head) + facts + numbers).ljust(fitting.size, b"\0")
    return b""


def read_mp3(audio: bytes) -> AudioInfo:
    """Return the sample rate, channels and duration of an MP3.

    Raises:
        NotAudio: The file has no frame, a frame is truncated, or frames are missing.
    """
    count, announced, samples = 0, 0, 0
    first: Mp3Frame | None = None
    for at, frame in _iterate_mp3_frames(audio):
        told = read_frame_count(audio, at, frame) if first is None and not announced else None
        if told is not None:
            announced = told
            continue
        first = first or frame
        count += 1
        samples += frame.samples
    if first is None:
        raise make_not_audio("the mp3 file contains no sound")
    if count + 1 < announced:
        raise make_truncated("mp3", f"{count:,} of {announced:,} frames")
    return AudioInfo(audio, first.sample_rate_hz, first.channels, samples / first.sample_rate_hz)


def _iterate_mp3_frames(audio: bytes) -> Iterator[tuple[int, Mp3Frame]]:
    at, end = 0, len(audio)
    if audio[-_LAST_TAG:-125] == b"TAG":
        end -= _LAST_TAG
    while at < end:
        tag = read_tag_size(audio, at)
        if tag:
            at += tag
            continue
        frame = read_mp3_frame(audio, at)
        if frame is None:
            if not audio[at:end].strip(b"\0"):
                return
            raise (
                make_truncated("mp3", "its last frame has no header")
                if end - at < 4
                else make_not_audio(f"not an mp3 file: there is no frame at byte {at:,}")
            )
        if at + frame.size > end:
            raise make_truncated("mp3", f"{end - at} of the {frame.size} bytes of its last frame")
        yield at, frame
        at += frame.size
    if at > end:
        raise make_truncated("mp3", "it ends inside its tag")


def read_adts(audio: bytes) -> AudioInfo:
    """Return the sample rate, channels and duration of ADTS. All three are None for AAC in an MP4 or ADIF container.

    Raises:
        NotAudio: The file has no frame, or a frame is truncated.
    """
    if audio[4:8] == b"ftyp" or audio[:4] == b"ADIF":
        return AudioInfo(audio, None, None, None)
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
                make_not_audio(f"not an aac file: there is no frame at byte {at:,}")
                if len(head) == 7 or not at
                else make_truncated("aac", "its last frame has no header")
            )
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if size < 7 or at + size > len(audio):
            raise make_truncated("aac", f"{len(audio) - at} of the {size} bytes of its last frame")
        rate = rate or _ADTS_RATES[head[2] >> 2 & 15]
        channels = channels or ((head[2] & 1) << 2 | head[3] >> 6)
        samples += 1024 * (1 + (head[6] & 3))
        at += size
    if not samples:
        raise make_not_audio("the aac file contains no sound")
    return AudioInfo(audio, rate, channels, samples / rate)
