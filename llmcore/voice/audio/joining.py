"""Several pieces of audio as one file: each gives its body, the first one its head."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmcore.contracts.voice_signs import mp3_frame
from llmcore.errors import NotAudio
from llmcore.types import AudioFormat
from llmcore.voice.audio import frames, wav

__all__ = ["JOINABLE", "Body", "body_of", "fits", "joined"]

JOINABLE: Final[frozenset[AudioFormat]] = frozenset({"wav", "mp3", "aac", "pcm", "ulaw", "alaw"})
"""Ogg and FLAC count their samples from the beginning of the file: to append is to encode again, which llmcore does not."""


class Body:
    """What of one piece goes into the joined file, as its bytes come. This one passes them on as they are."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what goes on."""
        return data

    def end(self) -> bytes:
        """Return what was held back."""
        return b""


class WavBody(Body):
    """The samples of a wav; of the first piece with a header that leaves the length open."""

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._held = bytearray()
        self._open = False
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """See `Body.feed`."""
        if self._open:
            return self._samples(data)
        self._held += data
        head = wav.head_of(self._held)
        if head is None:
            return b""
        self._open, self._left = True, head.size
        samples = self._samples(bytes(self._held[head.begins :]))
        return wav.written(head.form, [samples], wav.UNKNOWN) if self._first else samples

    def _samples(self, data: bytes) -> bytes:
        if self._left is None:
            return data
        data = data[: self._left]  # behind the samples stand notes on them
        self._left -= len(data)
        return data


class Mp3Body(Body):
    """The frames of an MP3 that hold sound: no tags, no count of frames that would be another file's."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._open = False

    def feed(self, data: bytes) -> bytes:
        """See `Body.feed`."""
        self._held += data
        if not self._open and not self._opened():
            return b""
        given = bytes(self._held[:-128])  # a tag of 128 bytes may stand at the end
        del self._held[:-128]
        return given

    def end(self) -> bytes:
        """See `Body.end`."""
        if not self._open:
            self._opened(all_there=True)
        held = bytes(self._held)
        return b"" if held[:3] == b"TAG" and len(held) == 128 else held

    def _opened(self, *, all_there: bool = False) -> bool:
        """Drop what stands before the sound; return whether it is past."""
        held = self._held
        if len(held) < frames.HEAD_BYTES and not all_there:
            return False
        tag = frames.tag_bytes(held, 0)
        if tag:
            if len(held) < tag + frames.HEAD_BYTES and not all_there:
                return False
            del held[:tag]
            return self._opened(all_there=all_there)
        frame = mp3_frame(held, 0)
        if frame is not None:
            if len(held) < frame.size and not all_there:
                return False
            if frames.tells_only(held, 0, frame) is not None:
                del held[: frame.size]
        self._open = True
        return True


def body_of(kind: AudioFormat, *, first: bool) -> Body:
    """Return what takes the bytes of one piece of *kind*, which must be of `JOINABLE`."""
    if kind == "wav":
        return WavBody(first=first)
    return Mp3Body() if kind == "mp3" else Body()


def joined(kind: AudioFormat, pieces: Sequence[bytes]) -> bytes:
    """Return *pieces*, each a whole file of *kind*, as one file.

    Raises:
        NotAudio: *kind* cannot be joined, or one piece does not fit the others.
    """
    if len(pieces) == 1:
        return pieces[0]
    if kind not in JOINABLE:
        raise NotAudio(
            f"pieces of {kind} cannot be joined without encoding them again",
            expected=f"one of {', '.join(sorted(JOINABLE))}, or a text that goes into one request",
        )
    if kind != "wav":
        sound = b"".join(_body(kind, piece) for piece in pieces)
        return frames.announcing(sound) + sound if kind == "mp3" else sound
    forms = {head.form[:16]: head.form for head in map(wav.head_of, pieces) if head is not None}
    if len(forms) != 1:
        raise NotAudio("the pieces of the text do not fit together: their samples are coded in several ways")
    return wav.written(forms.popitem()[1], [_body("wav", piece) for piece in pieces])


def fits(kinds: Sequence[tuple[AudioFormat, int | None]]) -> None:
    """Raise `NotAudio` unless all pieces, of which *kinds* tells format and rate, are of one kind."""
    if len(set(kinds)) > 1:
        told = ", ".join(f"{kind} of {rate} Hz" for kind, rate in sorted(set(kinds), key=str))
        raise NotAudio(
            f"the pieces of the text do not fit together: {told}", expected="one kind for all pieces"
        )


def _body(kind: AudioFormat, piece: bytes) -> bytes:
    body = body_of(kind, first=False)
    return body.feed(piece) + body.end()
