"""The call for one piece of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.pipeline import Call
from llmcore.types import VoiceTraits

__all__ = ["SpeechCall"]


class SpeechCall(Call, kw_only=True):
    """A piece of a text for one provider, and its state."""

    text: str
    voice: str | None
    settings: Mapping[str, Any]
    traits: VoiceTraits | None
    timed_key: str | None = None
    """The cache key of the same audio with timestamps.

    None if the call does not use the cache, or if the call itself requests timestamps.
    """
    timeout_s: float | None = None
    """The caller's timeout in seconds. None means the `deadline` of [retry]."""
    timed: bool = False
    """True if the audio comes with timestamps."""
    context: dict[str, Any] = msgspec.field(default_factory=dict)
    """The text before and after the piece, for a provider that stitches pieces together."""

    @property
    def is_passed_on(self) -> bool:
        """True if the audio is emitted as it arrives.

        Audio of an unknown format is emitted only at the end, because its beginning cannot be checked.
        """
        return (
            self.streaming
            and self.traits is not None
            and self.backend.find_ability("stream_speech") is not None
        )
