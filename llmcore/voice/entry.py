"""Encode a speech as a cache entry, decode it, and make its cache key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.support.errors import raise_unchained
from llmcore.types import Speech, VoiceTraits

__all__ = ["SpeechKeyMaker", "pack", "unpack"]

KEY_VERSION: Final = 1
"""The version of keys. Increase the version when a change of the code makes the entries of earlier versions wrong."""
_MAGIC: Final = b"llms1"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Speech)
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
                [KEY_VERSION, namespace, provider, dict(identity), spoken_by, dict(settings), known, timed]
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

    def key(self, text: str) -> str:
        """Return the key of one piece, 66 characters."""
        digest = self._scope.copy()
        digest.update(text.encode())
        return "v:" + digest.hexdigest()


def pack(key: str, speech: Speech) -> bytes:
    """Return *speech* as a cache entry.

    The entry contains its key. An entry under a wrong key is therefore detected.
    """
    return _MAGIC + key.encode() + _encoder.encode(speech)


def unpack(key: str, data: bytes) -> Speech | None:
    """Return the speech; None if *data* is damaged or belongs to another key."""
    head = _MAGIC + key.encode()
    if not data.startswith(head):
        return None
    try:
        return _decoder.decode(memoryview(data)[len(head) :])
    except msgspec.MsgspecError:
        return None
