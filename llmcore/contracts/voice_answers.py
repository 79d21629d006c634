"""Audio as a server sends it: what is none, or not all of it, is an error and never passed on as sound."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from llmcore.contracts.voice_signs import RAW, is_text, kind_of, looked_at, mp3_frame
from llmcore.errors import IncompleteReply, MalformedReply, NotAudio
from llmcore.types import AudioFormat

__all__ = ["Ear", "mended_wav"]

_UNKNOWN: Final = (0, 0xFFFFFFFF)
"""How a wav that was written on the go gives its length."""
_HEAD: Final = 12
_ADTS: Final = 0xFFF0
_ADTS_BITS: Final = 0xFFF6


def _is_mp3(head: bytes) -> bool:
    return head[:3] == b"ID3" or mp3_frame(head, 0) is not None


def _is_adts(head: bytes) -> bool:
    return int.from_bytes(head[:2], "big") & _ADTS_BITS == _ADTS


_SIGNS: Final[Mapping[AudioFormat, Callable[[bytes], bool]]] = {
    "aac": _is_adts,
    "flac": lambda head: kind_of(head) == "flac",
    "mp3": _is_mp3,
    "ogg": lambda head: kind_of(head) == "ogg",
    "opus": lambda head: kind_of(head) == "ogg",
    "wav": lambda head: kind_of(head) == "wav",
}


def _fits(head: bytes, kind: AudioFormat) -> bool:
    if kind in RAW:
        return not is_text(head) and kind_of(head, frames=2) is None
    return _SIGNS[kind](head)


class Ear:
    """Listens to one answer, piece by piece."""

    def __init__(
        self, headers: Mapping[str, str], kind: AudioFormat, provider: str, most_bytes: int | None = None
    ) -> None:
        """Begin to listen.

        Args:
            headers: Of the answer, their names in small letters.
            kind: What was asked for.
            provider: Who is asked, for errors.
            most_bytes: More than this is no speech.

        Raises:
            NotAudio: The headers speak of something else.
        """
        self._kind, self._provider, self._most = kind, provider, most_bytes
        # Without either, HTTP does not say where the body ends, and a broken connection looks like its end.
        self._ends_by_itself = "content-length" in headers or "transfer-encoding" in headers
        self._waiting = b""
        self._known = False
        self._size = 0
        told = headers.get("content-type", "").partition(";")[0].strip().lower()
        if told.startswith("text/") or told.rpartition("/")[2] in {"json", "html", "xml"}:
            raise _none(provider, f"{told} came in place of {kind}")

    def hear(self, piece: bytes) -> bytes:
        """Take a piece; return what may be passed on.

        Raises:
            NotAudio: This is none of the format that was asked for.
            MalformedReply: It is more than any speech.
        """
        self._size += len(piece)
        if self._most is not None and self._size > self._most:
            raise MalformedReply(f"more than {self._most:,} bytes came", provider=self._provider)
        if self._known:
            return piece
        self._waiting += piece
        return self._judged() if looked_at(self._waiting, self._kind) else b""

    def end(self) -> bytes:
        """Hear that no more comes; return what was held back.

        Raises:
            NotAudio: Nothing came, or none of the format.
            IncompleteReply: Something is missing.
        """
        if not self._size:
            raise _none(self._provider, "an empty body came")
        rest = b"" if self._known else self._judged()
        if not self._ends_by_itself:
            raise IncompleteReply(
                "the connection ended, and nothing says whether the audio did",
                provider=self._provider,
                expected="an answer with content-length or in chunks",
            )
        if self._kind == "pcm" and self._size % 2:
            raise IncompleteReply("the audio ends within a sample", provider=self._provider)
        return rest

    def _judged(self) -> bytes:
        head, self._waiting = self._waiting, b""
        if not _fits(head, self._kind):
            raise _none(self._provider, f"what came is no {self._kind}")
        self._known = True
        return head


def mended_wav(audio: bytes, provider: str) -> tuple[bytes, float]:
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
        if name == b"fmt " and at + 20 <= len(audio):
            (per_second,) = struct.unpack_from("<I", audio, at + 16)
        at += 8 + size + size % 2
    else:
        raise _none(provider, "the wav has no samples")
    left = len(audio) - at - 8
    if size in _UNKNOWN:
        whole, samples = struct.pack("<I", len(audio) - 8), struct.pack("<I", left)
        audio, size = b"RIFF" + whole + audio[8 : at + 4] + samples + audio[at + 8 :], left
    elif size > left:
        raise IncompleteReply(f"the wav holds {left} bytes of {size}", provider=provider)
    return audio, size / per_second if per_second else 0.0


def _none(provider: str, what: str) -> NotAudio:
    return NotAudio(
        f"{provider} sent no audio: {what}",
        expected="audio in the format that was asked for",
        notes=("is base_url right, path included?",),
    )
