"""The properties of an audio file, and the errors for files that cannot be played."""

from __future__ import annotations

from typing import NamedTuple

from llmcore.errors import NotAudio

__all__ = ["AudioInfo", "make_not_audio", "make_truncated"]


class AudioInfo(NamedTuple):
    """The properties of a complete audio file."""

    audio: bytes
    """The file. The header of a WAV of unknown length was given the real length; an incomplete last sample was dropped."""
    sample_rate_hz: int | None
    channels: int | None
    duration_s: float | None


def make_not_audio(what: str, expected: str | None = None) -> NotAudio:
    """Return the error for a file that cannot be played."""
    return NotAudio(what, expected=expected or "a complete audio file")


def make_truncated(kind: str, reason: str) -> NotAudio:
    """Return the error for a truncated file."""
    return NotAudio(f"the {kind} file is truncated: {reason}", expected="a complete audio file")
