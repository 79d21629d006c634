"""Whether bytes are the audio that they are said to be, and whole."""

# ruff: noqa: PLR2004 - the sizes, offsets and marks of the format

from __future__ import annotations

from typing import Final

from llmcore.types import AudioFormat
from llmcore.voice.audio import flac, frames, ogg, wav
from llmcore.voice.audio.heard import Heard, broken, cut

__all__ = ["HEAD_BYTES", "heard", "plausible"]

HEAD_BYTES: Final = 64
"""So much of a stream is looked at before any of it is passed on."""
_TELEPHONE_HZ: Final = 8_000

_PRINTABLE: Final = bytes([9, 10, 12, 13, *range(32, 127)])


def heard(audio: bytes, kind: AudioFormat, sample_rate_hz: int | None = None) -> Heard:
    """Return what is in *audio*.

    Args:
        audio: A whole file of *kind*, or raw samples.
        kind: What it is said to be.
        sample_rate_hz: Of raw samples, which do not say.

    Raises:
        NotAudio: It is something else, cut short, or has no sound in it.
    """
    plausible(audio, kind)
    if kind == "wav":
        return wav.hear(audio)
    if kind == "mp3":
        return frames.hear_mp3(audio)
    if kind == "aac":
        return frames.hear_adts(audio)
    if kind == "flac":
        return flac.hear(audio)
    if kind in ("ogg", "opus"):
        return ogg.hear(audio, opus=kind == "opus")
    return _raw(audio, kind, sample_rate_hz)


def plausible(head: bytes, kind: AudioFormat) -> None:
    """Raise `NotAudio` where *head*, the beginning of a file, shows that it is no audio of *kind*."""
    if not head:
        raise broken("what arrived is empty")
    start = head[:HEAD_BYTES].lstrip().lower()
    text = not head[: 4 * HEAD_BYTES].translate(None, _PRINTABLE)
    if text or start.startswith((b"<!doctype", b"<html", b"<?xml", b'{"')):
        raise broken(
            f"what arrived is {_named(start)} of {len(head):,} bytes, not {kind}", f"audio as {kind}"
        )
    found = _sniffed(head)
    raw = kind in ("pcm", "ulaw", "alaw")
    if raw and found in ("wav", "ogg", "flac"):
        raise broken(f"what arrived is {found}, not {kind}", f"audio as {kind}")
    if not raw and found is not None and found != {"opus": "ogg"}.get(kind, kind):
        raise broken(f"what arrived is {found}, not {kind}", f"audio as {kind}")


def _raw(audio: bytes, kind: AudioFormat, sample_rate_hz: int | None) -> Heard:
    width = 2 if kind == "pcm" else 1
    if len(audio) % width:
        raise cut("pcm", "half a sample is at its end")
    rate = sample_rate_hz or (None if kind == "pcm" else _TELEPHONE_HZ)
    return Heard(audio, rate, 1, len(audio) / width / rate if rate else None)


def _sniffed(head: bytes) -> str | None:
    """Return the kind that a file with a beginning like *head* must be; None where its bytes do not say."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] in (b"OggS", b"fLaC"):
        return "ogg" if head[:4] == b"OggS" else "flac"
    if len(head) > 3 and frames.mp3_frame(head, 0) is not None:
        return "mp3"
    return None


def _named(start: bytes) -> str:
    if start.startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    if start.startswith((b"{", b"[")):
        return "JSON"
    return "XML" if start.startswith(b"<") else "text"
