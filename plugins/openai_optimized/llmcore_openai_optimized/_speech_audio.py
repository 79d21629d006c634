"""Audio as it arrives: what is none, or not all of it, is an error and never passed on as sound."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from llmcore.errors import IncompleteReply, MalformedReply, NotAudio
from llmcore.types import AudioFormat

__all__ = ["Ear", "mended_wav"]

_MOST_BYTES: Final = 128_000_000
_ENOUGH: Final = 64
"""Bytes by which sound is told from text."""
_UNKNOWN: Final = (0, 0xFFFFFFFF)
"""How a wav that was written on the go gives its length, as OpenAI's are."""
_HEAD: Final = 12
_SYNC: Final = 0xFFE2
"""Eleven bits that begin a frame of MPEG audio, and two that say layer III."""
_LAYER_3: Final = 0xFFE6
_ADTS: Final = 0xFFF0
_ADTS_BITS: Final = 0xFFF6


def _starts(head: bytes) -> int:
    return int.from_bytes(head[:2], "big")


def _is_raw(head: bytes) -> bool:
    """Raw samples have no sign of their own: they are whatever is neither text nor another format."""
    opens = head.lstrip()[:1] in (b"{", b"[", b"<")
    text = opens and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head) and head.isascii()
    return not text and not head.startswith((b"RIFF", b"OggS", b"ID3", b"fLaC"))


_SIGNS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "aac": lambda head: _starts(head) & _ADTS_BITS == _ADTS,
    "flac": lambda head: head[:4] == b"fLaC",
    "mp3": lambda head: head[:3] == b"ID3" or _starts(head) & _LAYER_3 == _SYNC,
    "opus": lambda head: head[:4] == b"OggS",
    "pcm": _is_raw,
    "wav": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE",
}


class Ear:
    """Listens to one answer, piece by piece."""

    def __init__(self, headers: Mapping[str, str], form: AudioFormat) -> None:
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
            raise _none(f"{kind} came in place of {form}")

    def hear(self, piece: bytes) -> bytes:
        """Take a piece; return what may be passed on.

        Raises:
            NotAudio: This is none of the format that was asked for.
            MalformedReply: It is more than any speech.
        """
        self._size += len(piece)
        if self._size > _MOST_BYTES:
            raise MalformedReply(f"more than {_MOST_BYTES:,} bytes came", provider="openai")
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
                provider="openai",
                expected="an answer with content-length or in chunks",
            )
        if self._form == "pcm" and self._size % 2:
            raise IncompleteReply("the audio ends within a sample", provider="openai")
        return rest

    def _judged(self) -> bytes:
        head, self._waiting = self._waiting, b""
        if not _SIGNS[self._form](head):
            raise _none(f"what came is no {self._form}")
        self._known = True
        return head


def mended_wav(audio: bytes) -> tuple[bytes, float]:
    """Return the wav with its lengths in its header, and how many seconds it takes.

    Raises:
        NotAudio: It has no samples.
        IncompleteReply: It is shorter than its header says.
    """
    at, per_second = _HEAD, 0
    while at + 8 <= len(audio):
        name, size = struct.unpack_from("<4sI", audio, at)
        if name == b"data":
            break
        if name == b"fmt ":
            (per_second,) = struct.unpack_from("<I", audio, at + 16)
        at += 8 + size + size % 2
    else:
        raise _none("the wav has no samples")
    left = len(audio) - at - 8
    if size in _UNKNOWN:
        whole, samples = struct.pack("<I", len(audio) - 8), struct.pack("<I", left)
        audio, size = b"RIFF" + whole + audio[8 : at + 4] + samples + audio[at + 8 :], left
    elif size > left:
        raise IncompleteReply(f"the wav holds {left} bytes of {size}", provider="openai")
    return audio, size / per_second if per_second else 0.0


def _none(what: str) -> NotAudio:
    return NotAudio(
        f"openai sent no audio: {what}",
        expected="audio in the format that was asked for",
        notes=("is base_url right, path included?",),
    )
