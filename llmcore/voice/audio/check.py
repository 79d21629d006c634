"""Check that bytes are complete audio of the expected format."""

from __future__ import annotations

from typing import Final

from llmcore.support.audio_signatures import HEAD_BYTES, RAW, detect_format, is_text
from llmcore.types import AudioFormat
from llmcore.voice.audio import flac, frames, ogg, wav
from llmcore.voice.audio.info import AudioInfo, make_not_audio

__all__ = ["check_beginning", "read_audio"]

# mutagen and tinytag also read durations, but they accept truncated files, and report 134,217 s for a WAV of
# unknown length (a stream): docs/decisions/0015-our-own-reader-of-durations.md.

_TELEPHONE_HZ: Final = 8_000


def read_audio(audio: bytes, kind: AudioFormat, sample_rate_hz: int | None = None) -> AudioInfo:
    """Return the sample rate, channels and duration of *audio*.

    Args:
        audio: A complete file of *kind*, or raw samples.
        kind: The expected format.
        sample_rate_hz: The sample rate of raw samples.

    Raises:
        NotAudio: *audio* has another format, is truncated, or contains no sound.
    """
    check_beginning(audio, kind)
    if kind == "wav":
        return wav.read(audio)
    if kind == "mp3":
        return frames.read_mp3(audio)
    if kind == "aac":
        return frames.read_adts(audio)
    if kind == "flac":
        return flac.read(audio)
    if kind in ("ogg", "opus"):
        return ogg.read(audio, opus=kind == "opus")
    return _read_raw(audio, kind, sample_rate_hz)


def check_beginning(head: bytes, kind: AudioFormat) -> None:
    """Raise `NotAudio` if *head*, the beginning of a file, is not audio of *kind*."""
    if not head:
        raise make_not_audio("the audio is empty")
    if is_text(head):
        raise make_not_audio(
            f"expected {kind}, got {_describe_text(head)} of {len(head):,} bytes", f"audio as {kind}"
        )
    found = detect_format(head, frames=2 if kind in RAW else 1)
    if found is not None and found != {"opus": "ogg"}.get(kind, kind):
        raise make_not_audio(f"expected {kind}, got {found}", f"audio as {kind}")


def _read_raw(audio: bytes, kind: AudioFormat, sample_rate_hz: int | None) -> AudioInfo:
    width = 2 if kind == "pcm" else 1
    if len(audio) % width:
        audio = audio[:-1]  # drop an incomplete sample: it would turn the next piece into noise
    if not audio:
        raise make_not_audio("the audio is shorter than one sample")
    rate = sample_rate_hz or (None if kind == "pcm" else _TELEPHONE_HZ)
    return AudioInfo(audio, rate, 1, len(audio) / width / rate if rate else None)


def _describe_text(head: bytes) -> str:
    start = head[:HEAD_BYTES].translate(None, b"\0\xff\xfe\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    if start.startswith((b"{", b"[")):
        return "JSON"
    return "XML" if start.startswith(b"<") else "text"
