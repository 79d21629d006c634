"""The types of the contract of voices; `llmcore.types` exports them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["AudioFormat", "Speech", "VoiceInfo", "VoiceModel", "VoicePage", "VoiceTraits"]

AudioFormat = Literal["wav", "mp3", "ogg", "opus", "flac", "aac", "pcm", "ulaw", "alaw"]


class VoiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One voice of a provider."""

    voice_id: str
    name: str
    language: str | None = None
    """BCP 47, such as "en-GB"."""
    description: str | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class VoicePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the voices that a search found."""

    voices: tuple[VoiceInfo, ...]
    next: str | None = None
    """The value of `after=` for the next page; None at the end."""


class VoiceModel(msgspec.Struct, frozen=True, kw_only=True):
    """One speech model."""

    model_id: str
    name: str = ""
    max_characters: int | None = None
    """Maximum characters of one request; None if unknown."""
    languages: tuple[str, ...] = ()
    """BCP 47, such as "en"; empty if unknown."""
    description: str | None = None


class VoiceTraits(msgspec.Struct, frozen=True, kw_only=True):
    """The traits of a speech that are known in advance, without the network."""

    voice: str = ""
    """The voice that will speak: the configured one's id if the caller named none."""
    model: str = ""
    format: AudioFormat
    sample_rate_hz: int | None = None
    """None if only the audio has it."""
    max_characters: int | None = None
    """Maximum length of one request, as Python's `len` counts; None for no limit."""
    identity: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Everything else that can change the audio, besides the text, the caller's settings and the fields here.

    Address, account, and every option that `synthesize` adds to the request; a secret as a digest. Part of the cache key.
    """
    stitches: bool = False
    """Whether `synthesize` takes `previous_text`, `next_text` and `previous_request_ids`."""
    concurrency: int = 1
    """Maximum number of concurrent requests for the pieces of one text."""


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """A text as audio."""

    audio: bytes
    format: AudioFormat
    sample_rate_hz: int | None = None
    duration_s: float | None = None
    """Seconds; None if unknown. The host reads it from the audio."""
    characters: int = 0
    """Spoken characters, as the vendor counts them; if a provider leaves it at 0, the host counts."""
    billed_characters: int = 0
    """Part of `characters` that this call paid for; the rest came from the cache. Filled in by the host."""
    cost: Decimal | None = None
    """USD; None if the price is unknown, 0 for a speech from the cache."""
    cached: bool = False
    """Whether all of it came from the cache."""
    saved: Decimal | None = None
    """USD that the cache saved; None if nothing was saved or the price is unknown."""
    voice: str = ""
    model: str = ""
    provider: str = ""
    alignment: tuple[tuple[str, float, float], ...] = ()
    """(character, start, end), times in seconds, if the provider reports them; the characters joined are the text."""
    request_id: str | None = None
    """The backend's id of the request; for a speech in several pieces, of the last one."""

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the audio to the file *path* atomically, replace its content, and return the path.

        An existing file keeps its mode. A symbolic link is followed; a pipe or device is written to directly.

        Raises:
            OSError: *path* cannot be written; an existing file keeps its content.
        """
        from llmcore.atomic_write import write_atomically

        target = Path(path)
        write_atomically(target, [self.audio])
        return target

    def __repr__(self) -> str:
        length = "" if self.duration_s is None else f", {self.duration_s:.2f} s"
        return f"Speech({len(self.audio)} bytes of {self.format}{length}, {self.characters} characters)"
