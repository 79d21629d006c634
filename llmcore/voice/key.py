"""The cache key of a piece of speech: a digest of everything that changes its audio."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.support.errors import raise_unchained
from llmcore.types import VoiceTraits

__all__ = ["SpeechKeyMaker"]

_KEY_VERSION: Final = 1
"""The version of keys. Increase the version when a change of the code makes the entries of earlier versions wrong."""

_json = msgspec.json.Encoder(order="sorted")


class SpeechKeyMaker:
    """Makes the cache keys of the pieces of one text.

    A key is a digest of the text, the voice, the settings and all else that changes the audio, except the text before
    and after the piece. That text changes the tone only slightly, and if it were in the key, a changed sentence would
    also change the keys of its neighbours.
    """

    def __init__(
        self,
        *,
        provider: str,
        namespace: str,
        voice: str | None,
        settings: Mapping[str, Any],
        traits: VoiceTraits | None,
        identity: Mapping[str, Any],
        timed: bool,
    ) -> None:
        known = [] if traits is None else [traits.model, traits.format, traits.sample_rate_hz]
        spoken_by = voice if traits is None else traits.voice or voice
        try:
            scope = _json.encode(
                [_KEY_VERSION, namespace, provider, dict(identity), spoken_by, dict(settings), known, timed]
            )
            self._scope = hashlib.sha256(scope + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            raise_unchained(
                BadRequest(
                    f"the settings are not JSON: {error}",
                    code="LC306",
                    expected="settings of dicts, lists, texts, numbers, true, false and null",
                )
            )

    def make_key(self, text: str) -> str:
        """Return the key of one piece, 66 characters."""
        digest = self._scope.copy()
        digest.update(text.encode())
        return "v:" + digest.hexdigest()
