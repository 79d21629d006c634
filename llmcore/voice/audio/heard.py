"""What an audio file says of itself, and the error for one that cannot be played."""

from __future__ import annotations

from typing import NamedTuple

from llmcore.errors import NotAudio

__all__ = ["Heard", "broken", "cut"]


class Heard(NamedTuple):
    """What was found in an audio file that is whole."""

    audio: bytes
    """The file, its header mended where it did not know the length."""
    sample_rate_hz: int | None
    channels: int | None
    duration_s: float | None


def broken(what: str, expected: str | None = None) -> NotAudio:
    """Return the error for what cannot be played."""
    return NotAudio(what, expected=expected or "a whole audio file")


def cut(kind: str, told: str) -> NotAudio:
    """Return the error for a file that ends before its end."""
    return NotAudio(f"the {kind} is cut short: {told}", expected="a whole audio file")
