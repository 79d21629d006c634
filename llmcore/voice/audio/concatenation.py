"""Join pieces of audio into one file: the header of the first piece, and the bodies of all pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmcore.errors import NotAudio
from llmcore.support.audio_signatures import RAW, read_mp3_frame
from llmcore.support.wav import UNKNOWN, read_wav_head
from llmcore.types import AudioFormat
from llmcore.voice.audio import frames, wav

__all__ = ["JOINABLE", "Body", "check_same_format", "join_audio", "make_body"]

JOINABLE: Final[frozenset[AudioFormat]] = frozenset({"wav", "mp3", "aac", "pcm", "ulaw", "alaw"})
"""Formats that can be joined.

Ogg and FLAC count samples from the start of the file, so joining needs an encoder.
"""
_LAST_TAG: Final = 128


class Body:
    """Filters the bytes of one piece for the joined file. This base class passes all bytes through unchanged."""

    def feed(self, data: bytes) -> bytes:
        """Add the next bytes; return the bytes for the joined file."""
        return data

    def end(self) -> bytes:
        """Return the remaining bytes at the end."""
        return b""


class _RawBody(Body):
    """The filter for raw samples.

    The filter passes only complete samples, because half a sample would turn the next piece into noise.
    """

    def __init__(self, frame_bytes: int) -> None:
        self._frame = frame_bytes
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """See `Body.feed`."""
        if self._held:
            data = self._held + data
        more = len(data) % self._frame
        self._held = data[len(data) - more :] if more else b""
        return data[: len(data) - more] if more else data


class _WavBody(Body):
    """The filter for WAV.

    The filter passes complete samples. For the first piece, it also passes a header that declares an unknown length.
    """

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._held = bytearray()
        self._raw: _RawBody | None = None
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """See `Body.feed`."""
        if self._raw is not None:
            return self._read_samples(self._raw, data)
        self._held += data
        head = read_wav_head(self._held)
        if head is None:
            return b""
        self._raw = _RawBody(head.frame_bytes)
        self._left = head.size or None  # in the header of a stream, the size 0 means an unknown length
        samples = self._read_samples(self._raw, bytes(self._held[head.begins :]))
        return wav.make_wav(head.form, [samples], UNKNOWN) if self._first else samples

    def _read_samples(self, raw: _RawBody, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]  # drop other chunks, which may follow the samples
            self._left -= len(data)
        return raw.feed(data)


class _FrameBody(Body):
    """The filter for MP3 and ADTS. The filter passes complete frames, without tags and header frames.

    Invalid bytes pass too, because the check of the complete file reports them.
    """

    def __init__(self, kind: AudioFormat) -> None:
        self._size_at = frames.read_mp3_size if kind == "mp3" else frames.read_adts_size
        self._tags = kind == "mp3"
        self._held = bytearray()
        self._begun = self._lost = False

    def feed(self, data: bytes) -> bytes:
        """See `Body.feed`."""
        self._held += data
        if not self._lost:
            return self._take_frames()
        data = bytes(self._held)
        self._held.clear()
        return data

    def end(self) -> bytes:
        """See `Body.end`."""
        held = bytes(self._held)
        # The last frame may be shorter than HEAD_BYTES, so it may still be held. An incomplete frame is dropped.
        whole = self._size_at(held, 0) == len(held)
        return held if whole and not self._is_count_frame(0) else b""

    def _take_frames(self) -> bytes:
        held, at, parts = self._held, 0, []
        while len(held) - at >= frames.HEAD_BYTES:
            size = self._size_at(held, at)
            tag = frames.read_tag_size(held, at) if self._tags and not size else 0
            if not (size or tag):
                if not self._is_end(held[at:]):
                    self._lost = True
                    parts.append(bytes(held[at:]))
                    at = len(held)
                break
            if at + (size or tag) > len(held):
                break
            if size and not self._is_count_frame(at):
                parts.append(bytes(held[at : at + size]))
            at += size or tag
        del held[:at]
        return b"".join(parts)

    def _is_count_frame(self, at: int) -> bool:
        """Return whether the frame at *at* is a header frame, which only the first frame of an MP3 can be."""
        first, self._begun = not self._begun and self._tags, True
        frame = read_mp3_frame(self._held, at) if first else None
        return frame is not None and frames.read_frame_count(self._held, at, frame) is not None

    def _is_end(self, rest: bytes | bytearray) -> bool:
        """Return whether *rest* is padding with zeros, or the start of a tag of 128 bytes."""
        return not rest.strip(b"\0") or (self._tags and len(rest) <= _LAST_TAG and rest[:3] == b"TAG")


def make_body(kind: AudioFormat, *, first: bool) -> Body:
    """Return the filter for one piece of *kind*, which must be in `JOINABLE`."""
    if kind == "wav":
        return _WavBody(first=first)
    return _RawBody(2 if kind == "pcm" else 1) if kind in RAW else _FrameBody(kind)


def join_audio(kind: AudioFormat, pieces: Sequence[bytes]) -> bytes:
    """Join *pieces*, complete files of *kind*, into one file.

    Raises:
        NotAudio: *kind* cannot be joined, or the pieces have different formats.
    """
    if len(pieces) == 1:
        return pieces[0]
    if kind not in JOINABLE:
        raise NotAudio(
            f"pieces of {kind} cannot be joined without an encoder",
            expected=f"one of {', '.join(sorted(JOINABLE))}, or a text for one request",
        )
    if kind != "wav":
        sound = b"".join(_read_body(kind, piece) for piece in pieces)
        return frames.make_length_frame(sound) + sound if kind == "mp3" else sound
    forms = {head.form[:16]: head.form for head in map(read_wav_head, pieces) if head is not None}
    if len(forms) != 1:
        raise NotAudio("the pieces of the text have different sample formats")
    return wav.make_wav(forms.popitem()[1], [_read_body("wav", piece) for piece in pieces])


def check_same_format(kinds: Sequence[tuple[AudioFormat, int | None]]) -> None:
    """Raise `NotAudio` unless *kinds*, the format and sample rate of each piece, are all equal."""
    if len(set(kinds)) > 1:
        kinds_found = ", ".join(f"{kind} of {rate} Hz" for kind, rate in sorted(set(kinds), key=str))
        raise NotAudio(
            f"the pieces of the text have different formats: {kinds_found}",
            expected="one format for all pieces",
        )


def _read_body(kind: AudioFormat, piece: bytes) -> bytes:
    body = make_body(kind, first=False)
    return body.feed(piece) + body.end()
