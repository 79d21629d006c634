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
"""The formats of audio. pcm, ulaw and alaw are samples without a header."""


class VoiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One voice of a provider."""

    voice_id: str
    """The id to pass as `voice=`."""
    name: str
    """The readable name."""
    language: str | None = None
    """BCP 47, such as "en-GB"."""
    description: str | None = None
    """The provider's description; None if it has none."""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The provider's further labels, such as gender, accent or age."""


class VoicePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the voices that a search found."""

    voices: tuple[VoiceInfo, ...]
    """The voices of this page, in the provider's order."""
    next: str | None = None
    """The value to pass as `after=` to get the next page; None on the last page."""


class VoiceModel(msgspec.Struct, frozen=True, kw_only=True):
    """One speech model."""

    model_id: str
    """The id to pass as `model=`."""
    name: str = ""
    """The readable name; empty if the provider has none."""
    max_characters: int | None = None
    """Maximum characters of one request; None if unknown."""
    languages: tuple[str, ...] = ()
    """BCP 47, such as "en"; empty if unknown."""
    description: str | None = None
    """The provider's description; None if it has none."""


class VoiceTraits(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a speech that the provider knows before the request is sent."""

    voice: str = ""
    """The id of the voice that will speak: the configured voice if the caller did not choose one."""
    model: str = ""
    """The model that will speak; empty if the provider has no models."""
    format: AudioFormat
    """The format of the audio."""
    sample_rate_hz: int | None = None
    """The sample rate; None if it is known only from the audio."""
    max_characters: int | None = None
    """Maximum number of characters in one request, as Python's `len` counts them. None means that there is no limit."""
    identity: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Everything that can change the audio, except the text, the caller's settings and the other fields of
    this class.

    Include the address, the account, and every option that `synthesize` adds to the request; include a secret
    only as a digest. The identity is part of the cache key.
    """
    stitches: bool = False
    """True if `synthesize` takes `previous_text`, `next_text` and `previous_request_ids`."""
    concurrency: int = 1
    """Maximum number of concurrent requests for the pieces of one text."""


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """A text as audio."""

    audio: bytes
    """The whole audio, encoded as `format`."""
    format: AudioFormat
    """The format of `audio`."""
    sample_rate_hz: int | None = None
    """The sample rate; None if unknown."""
    duration_s: float | None = None
    """The duration in seconds, which the host reads from the audio; None if unknown."""
    characters: int = 0
    """Spoken characters, as the vendor counts them; if a provider leaves the field at 0, the host counts the
    characters.
    """
    billed_characters: int = 0
    """The part of `characters` that this call paid for; the other characters came from the cache.

    The host sets this field.
    """
    cost: Decimal | None = None
    """USD; None if the price is unknown, 0 for a speech from the cache."""
    cached: bool = False
    """True if the whole audio came from the cache."""
    saved: Decimal | None = None
    """USD that the cache saved; None if nothing was saved or the price is unknown."""
    voice: str = ""
    """The id of the voice that spoke."""
    model: str = ""
    """The model that spoke; empty if the provider has no models."""
    provider: str = ""
    """The name of the provider that spoke."""
    alignment: tuple[tuple[str, float, float], ...] = ()
    """A list of (character, start, end) with times in seconds, if the provider reports them.

    The joined characters are the text.
    """
    request_id: str | None = None
    """The backend's id of the request; for a speech in several pieces, the id of the last request."""

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the audio to the file *path* atomically, replacing an existing file, and return the path.

        An existing file keeps its mode. A symbolic link is followed; a pipe or device is written to directly.

        Raises:
            OSError: *path* cannot be written; an existing file is left unchanged.
        """
        from llmcore.atomic_write import write_atomically

        target = Path(path)
        write_atomically(target, [self.audio])
        return target

    def __repr__(self) -> str:
        length = "" if self.duration_s is None else f", {self.duration_s:.2f} s"
        return f"Speech({len(self.audio)} bytes of {self.format}{length}, {self.characters} characters)"
