"""Ogg (Vorbis, Opus): a row of pages, the last of which says that it is the last."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from llmcore.voice.audio.heard import Heard, broken, cut

__all__ = ["hear"]

_LAST: Final = 0x04
_FIRST: Final = 0x02
_NO_TIME: Final = 0xFFFFFFFFFFFFFFFF


class _Page(NamedTuple):
    flags: int
    time: int
    stream: bytes
    body: bytes


class _Stream:
    """One of the streams in the file, as far as it was read."""

    def __init__(self, body: bytes) -> None:
        self.skipped, self.over, self.time = 0, False, 0
        self.opus = body[:8] == b"OpusHead"
        if self.opus:
            self.rate, self.channels = 48_000, body[9] if len(body) > 9 else 0
            self.skipped = int.from_bytes(body[10:12], "little")
        elif body[:7] == b"\x01vorbis" and len(body) > 16:
            self.rate, self.channels = int.from_bytes(body[12:16], "little"), body[11]
        else:
            self.rate, self.channels = 0, 0  # FLAC, Speex, ...: whole, of a length that is not told

    def length_s(self) -> float | None:
        return max(0, self.time - self.skipped) / self.rate if self.rate else None


def hear(audio: bytes, *, opus: bool = False) -> Heard:
    """Return what the pages say.

    Args:
        audio: The file.
        opus: Whether it has to be Opus.

    Raises:
        NotAudio: It is no Ogg, cut short, or not Opus where it has to be.
    """
    streams: dict[bytes, _Stream] = {}
    for page in _pages(audio):
        if page.flags & _FIRST:
            streams[page.stream] = _Stream(page.body)
        stream = streams.get(page.stream)
        if stream is None:
            raise broken("the ogg does not begin with its first page")
        if page.time != _NO_TIME:
            stream.time = page.time
        stream.over = stream.over or bool(page.flags & _LAST)
    if not streams or (opus and not any(stream.opus for stream in streams.values())):
        raise broken("this is no opus" if opus else "the ogg is empty")
    if not all(stream.over for stream in streams.values()):
        raise cut("ogg", "its last page is missing")
    lengths = [stream.length_s() for stream in streams.values()]
    known = [length for length in lengths if length is not None]
    if known and not any(known):
        raise broken("the ogg has no sound in it")
    first = next(iter(streams.values()))
    duration = sum(known) if len(known) == len(lengths) else None
    return Heard(audio, first.rate or None, first.channels or None, duration)


def _pages(audio: bytes) -> Iterator[_Page]:
    at = 0
    while at < len(audio):
        if audio[at : at + 4] != b"OggS":
            raise (
                cut("ogg", "a page has half a head")
                if at and len(audio) - at < 4
                else broken(f"this is no ogg: no page begins at byte {at:,}")
            )
        count = audio[at + 26] if len(audio) > at + 26 else 0
        begins = at + 27 + count
        ends = begins + sum(audio[at + 27 : begins])
        if len(audio) < at + 27 or ends > len(audio):
            raise cut("ogg", f"its last page lacks {ends - len(audio)} bytes")
        time = int.from_bytes(audio[at + 6 : at + 14], "little")
        yield _Page(audio[at + 5], time, audio[at + 14 : at + 18], audio[begins:ends])
        at = ends
