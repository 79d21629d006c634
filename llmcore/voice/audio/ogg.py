"""Check Ogg files (Vorbis, Opus), which are sequences of pages. A flag marks the last page."""

# ruff: noqa: PLR2004 - the numbers are sizes, offsets and marks of the format

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from llmcore.voice.audio.info import AudioInfo, make_not_audio, make_truncated

__all__ = ["read"]

_LAST: Final = 0x04
_FIRST: Final = 0x02
_NO_TIME: Final = 0xFFFFFFFFFFFFFFFF


class _Page(NamedTuple):
    flags: int
    time: int
    stream: bytes
    body: bytes


class _Stream:
    """A logical stream of the file, and the values read from it so far."""

    def __init__(self, body: bytes) -> None:
        self.skipped, self.over, self.time = 0, False, 0
        self.opus = body[:8] == b"OpusHead"
        if self.opus:
            self.rate, self.channels = 48_000, body[9] if len(body) > 9 else 0
            self.skipped = int.from_bytes(body[10:12], "little")
        elif body[:7] == b"\x01vorbis" and len(body) > 16:
            self.rate, self.channels = int.from_bytes(body[12:16], "little"), body[11]
        else:
            self.rate, self.channels = 0, 0  # FLAC, Speex, ...: the duration is unknown

    def compute_length_s(self) -> float | None:
        return max(0, self.time - self.skipped) / self.rate if self.rate else None


def read(audio: bytes, *, opus: bool = False) -> AudioInfo:
    """Return the sample rate, channels and duration.

    Args:
        audio: The file.
        opus: True if the codec must be Opus.

    Raises:
        NotAudio: *audio* is not Ogg, is truncated, or has another codec.
    """
    streams: dict[bytes, _Stream] = {}
    for page in _iterate_pages(audio):
        if page.flags & _FIRST:
            streams[page.stream] = _Stream(page.body)
        stream = streams.get(page.stream)
        if stream is None:
            raise make_not_audio("the ogg file has a page before the first page of its stream")
        if page.time != _NO_TIME:
            stream.time = page.time
        stream.over = stream.over or bool(page.flags & _LAST)
    if not streams or (opus and not any(stream.opus for stream in streams.values())):
        raise make_not_audio("not an opus file" if opus else "the ogg file is empty")
    if not all(stream.over for stream in streams.values()):
        raise make_truncated("ogg", "its last page is missing")
    lengths = [stream.compute_length_s() for stream in streams.values()]
    known = [length for length in lengths if length is not None]
    if known and not any(known):
        raise make_not_audio("the ogg file contains no sound")
    first = next(iter(streams.values()))
    duration = sum(known) if len(known) == len(lengths) else None
    return AudioInfo(audio, first.rate or None, first.channels or None, duration)


def _iterate_pages(audio: bytes) -> Iterator[_Page]:
    at = 0
    while at < len(audio):
        if audio[at : at + 4] != b"OggS":
            raise (
                make_truncated("ogg", "it ends inside a page header")
                if at and len(audio) - at < 4
                else make_not_audio(f"not an ogg file: there is no page at byte {at:,}")
            )
        count = audio[at + 26] if len(audio) > at + 26 else 0
        begins = at + 27 + count
        ends = begins + sum(audio[at + 27 : begins])
        if len(audio) < at + 27 or ends > len(audio):
            raise make_truncated("ogg", f"its last page lacks {ends - len(audio)} bytes")
        time = int.from_bytes(audio[at + 6 : at + 14], "little")
        yield _Page(audio[at + 5], time, audio[at + 14 : at + 18], audio[begins:ends])
        at = ends
