"""Check the audio that a server sends. Raise an error for incomplete audio and for data that is not audio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from llmcore.errors import IncompleteReply, MalformedReply, NotAudio
from llmcore.support.audio_signatures import RAW, detect_format, has_enough_bytes, is_text, read_mp3_frame
from llmcore.support.errors import raise_unchained
from llmcore.support.wav import repair_wav
from llmcore.types import AudioFormat

__all__ = ["AudioValidator", "check_wav"]

_ADTS: Final = 0xFFF0
_ADTS_BITS: Final = 0xFFF6


def _is_mp3(head: bytes) -> bool:
    return head[:3] == b"ID3" or read_mp3_frame(head, 0) is not None


def _is_adts(head: bytes) -> bool:
    return int.from_bytes(head[:2], "big") & _ADTS_BITS == _ADTS


_SIGNS: Final[Mapping[AudioFormat, Callable[[bytes], bool]]] = {
    "aac": _is_adts,
    "flac": lambda head: detect_format(head) == "flac",
    "mp3": _is_mp3,
    "ogg": lambda head: detect_format(head) == "ogg",
    "opus": lambda head: detect_format(head) == "ogg",
    "wav": lambda head: detect_format(head) == "wav",
}


def _can_begin(head: bytes, kind: AudioFormat) -> bool:
    if kind in RAW:
        return not is_text(head) and detect_format(head, frames=2) is None
    return _SIGNS[kind](head)


class AudioValidator:
    """Check one answer piece by piece."""

    def __init__(
        self, headers: Mapping[str, str], kind: AudioFormat, provider: str, most_bytes: int | None = None
    ) -> None:
        """Check the headers.

        Args:
            headers: The headers of the answer, with names in lower case.
            kind: The format that was requested.
            provider: The provider's name, for errors.
            most_bytes: The limit on the size of the answer; None for no limit.

        Raises:
            NotAudio: The headers announce text, and *kind* is raw samples. Bytes alone cannot distinguish raw
                samples from text.
        """
        self._kind, self._provider, self._most = kind, provider, most_bytes
        # Without either header, the end of the body cannot be distinguished from a broken connection.
        self._ends_by_itself = "content-length" in headers or "transfer-encoding" in headers
        self._waiting = b""
        self._known = False
        self._size = 0
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_text_type = media_type.startswith("text/") or media_type.rpartition("/")[2] in {
            "json",
            "html",
            "xml",
        }
        # Some servers label audio as text: if the format has a signature, check the bytes and ignore the
        # label.
        self._fault = f"expected {kind}, got {media_type}" if is_text_type else f"the answer is not {kind}"
        if is_text_type and kind in RAW:
            raise _make_not_audio_error(provider, self._fault)

    def feed(self, piece: bytes) -> bytes:
        """Check a piece; return the bytes that the caller may use.

        Raises:
            NotAudio: The answer is not of the requested format.
            MalformedReply: The answer exceeds the limit.
        """
        self._size += len(piece)
        if self._most is not None and self._size > self._most:
            raise MalformedReply(
                f"the answer must have at most {self._most:,} bytes, got more", provider=self._provider
            )
        if self._known:
            return piece
        self._waiting += piece
        return self._check_head() if has_enough_bytes(self._waiting, self._kind) else b""

    def end(self) -> bytes:
        """Check the end of the answer; return the remaining bytes.

        Raises:
            NotAudio: The answer is empty or not of the requested format.
            IncompleteReply: The answer is incomplete.
        """
        if not self._size:
            raise _make_not_audio_error(self._provider, "the body is empty")
        rest = b"" if self._known else self._check_head()
        if not self._ends_by_itself:
            raise IncompleteReply(
                "the connection was closed, and the answer has no length: it may be incomplete",
                provider=self._provider,
                answered=True,  # a retry would be billed again and end in the same way
                expected="an answer with content-length or transfer-encoding: chunked",
            )
        if self._kind == "pcm" and self._size % 2:
            raise IncompleteReply("the audio ends within a sample", provider=self._provider, answered=True)
        return rest

    def _check_head(self) -> bytes:
        head, self._waiting = self._waiting, b""
        if not _can_begin(head, self._kind):
            raise _make_not_audio_error(self._provider, self._fault)
        self._known = True
        return head


def check_wav(audio: bytes, provider: str) -> tuple[bytes, float]:
    """Return the WAV file with the right lengths in its header, and its duration in seconds.

    Raises:
        NotAudio: *audio* is not a WAV file, or ends before the samples.
        IncompleteReply: *audio* is shorter than its header declares.
    """
    try:
        audio, head = repair_wav(audio)
    except NotAudio as error:
        raise_unchained(_make_not_audio_error(provider, error.message))
    available, size = len(audio) - head.begins, head.size or 0
    if size > available:
        raise IncompleteReply(
            f"the WAV file must have {size} bytes of samples, got {available}",
            provider=provider,
            answered=True,
        )
    return audio, size / head.bytes_per_second if head.bytes_per_second else 0.0


def _make_not_audio_error(provider: str, what: str) -> NotAudio:
    return NotAudio(
        f"{provider} sent no audio: {what}",
        expected="audio in the requested format",
        notes=("check base_url, including its path",),
    )
