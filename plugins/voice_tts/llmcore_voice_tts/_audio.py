"""Audio as it arrives: what is none, or not all of it, is an error and never passed on as sound."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from llmcore.errors import IncompleteReply, NotAudio
from llmcore_voice_tts.formats import Format

__all__ = ["Ear", "mended_wav", "wav_duration_s"]

_ENOUGH: Final = 64
"""Bytes by which sound is told from text."""
_UNKNOWN: Final = (0, 0xFFFFFFFF)
"""How a wav that was written on the go gives its length."""
_HEAD: Final = 12
_SYNC: Final = 0xFFE2
"""Eleven bits that begin a frame of MPEG audio, and two that say layer III."""
_LAYER_3: Final = 0xFFE6


def _is_mp3(head: bytes) -> bool:
    sync = int.from_bytes(head[:2], "big")
    return head[:3] == b"ID3" or sync & _LAYER_3 == _SYNC


def _is_raw(head: bytes) -> bool:
    """Raw samples have no sign of their own: they are whatever is neither text nor another format."""
    opens = head.lstrip()[:1] in (b"{", b"[", b"<")
    text = opens and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head) and head.isascii()
    return not text and not head.startswith((b"RIFF", b"OggS", b"ID3"))


_SIGNS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "mp3": _is_mp3,
    "wav": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE",
    "opus": lambda head: head[:4] == b"OggS",
    "pcm": _is_raw,
    "ulaw": _is_raw,
    "alaw": _is_raw,
}


class Ear:
    """Listens to one answer, piece by piece."""

    def __init__(self, headers: Mapping[str, str], form: Format) -> None:
        """Begin to listen.

        Raises:
            NotAudio: The headers speak of something else.
        """
        self._form = form
        # Without either, HTTP does not say where the body ends, and a broken connection looks like its end.
        self._ends_by_itself = "content-length" in headers or "transfer-encoding" in headers
        self._waiting = b""
        self._known = False
        self._size = 0
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith("text/") or kind.rpartition("/")[2] in {"json", "html", "xml"}:
            raise _none(f"{kind} came in place of {form.name}")

    def hear(self, piece: bytes) -> bytes:
        """Take a piece; return what may be passed on.

        Raises:
            NotAudio: This is none of the format that was asked for.
        """
        self._size += len(piece)
        if self._known:
            return piece
        self._waiting += piece
        return self._judged() if len(self._waiting) >= _ENOUGH else b""

    def end(self) -> bytes:
        """Hear that no more comes; return what was held back.

        Raises:
            NotAudio: Nothing came, or none of the format.
            IncompleteReply: Something is missing.
        """
        if not self._size:
            raise _none("an empty body came")
        rest = b"" if self._known else self._judged()
        if not self._ends_by_itself:
            raise IncompleteReply(
                "the connection ended, and nothing says whether the audio did",
                provider="elevenlabs",
                expected="an answer with content-length or in chunks",
            )
        if self._form.kind == "pcm" and self._size % 2:
            raise IncompleteReply("the audio ends within a sample", provider="elevenlabs")
        return rest

    def _judged(self) -> bytes:
        head, self._waiting = self._waiting, b""
        if not _SIGNS[self._form.kind](head):
            raise _none(f"what came is no {self._form.kind}")
        self._known = True
        return head


def mended_wav(audio: bytes) -> bytes:
    """Return the wav with its lengths in its header, which are left open where it was written on the go.

    Raises:
        NotAudio: It has no samples.
        IncompleteReply: It is shorter than its header says.
    """
    start, said = _samples(audio)
    left = len(audio) - start
    if said in _UNKNOWN:
        sizes = struct.pack("<I", len(audio) - 8), struct.pack("<I", left)
        return b"RIFF" + sizes[0] + audio[8 : start - 4] + sizes[1] + audio[start:]
    if said > left:
        raise IncompleteReply(f"the wav holds {left} bytes of {said}", provider="elevenlabs")
    return audio


def wav_duration_s(audio: bytes) -> float:
    """Return the length of a wav whose lengths are in its header."""
    _, size = _samples(audio)
    (per_second,) = struct.unpack_from("<I", audio, audio.index(b"fmt ") + 16)
    return size / per_second if per_second else 0.0


def _samples(audio: bytes) -> tuple[int, int]:
    """Return where the samples begin, and how many bytes of them the header promises."""
    at = _HEAD
    while at + 8 <= len(audio):
        name, size = struct.unpack_from("<4sI", audio, at)
        if name == b"data":
            return at + 8, size
        at += 8 + size + size % 2
    raise _none("the wav has no samples")


def _none(what: str) -> NotAudio:
    return NotAudio(
        f"elevenlabs sent no audio: {what}",
        expected="audio in the format that was asked for",
        notes=("is base_url right, path included?",),
    )
