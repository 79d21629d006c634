"""Whether bytes are the audio that they are said to be, and whole."""

from __future__ import annotations

from typing import Final

from llmcore.contracts.voice_signs import HEAD_BYTES, RAW, is_text, kind_of
from llmcore.types import AudioFormat
from llmcore.voice.audio import flac, frames, ogg, wav
from llmcore.voice.audio.heard import Heard, broken, cut

__all__ = ["heard", "plausible"]

_TELEPHONE_HZ: Final = 8_000


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
    if is_text(head):
        raise broken(f"what arrived is {_named(head)} of {len(head):,} bytes, not {kind}", f"audio as {kind}")
    found = kind_of(head, frames=2 if kind in RAW else 1)
    if found is not None and found != {"opus": "ogg"}.get(kind, kind):
        raise broken(f"what arrived is {found}, not {kind}", f"audio as {kind}")


def _raw(audio: bytes, kind: AudioFormat, sample_rate_hz: int | None) -> Heard:
    width = 2 if kind == "pcm" else 1
    if len(audio) % width:
        raise cut("pcm", "half a sample is at its end")
    rate = sample_rate_hz or (None if kind == "pcm" else _TELEPHONE_HZ)
    return Heard(audio, rate, 1, len(audio) / width / rate if rate else None)


def _named(head: bytes) -> str:
    start = head[:HEAD_BYTES].translate(None, b"\0\xff\xfe\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    if start.startswith((b"{", b"[")):
        return "JSON"
    return "XML" if start.startswith(b"<") else "text"
