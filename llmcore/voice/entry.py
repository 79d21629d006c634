"""Speech as the cache keeps it, and the key under which it does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import Speech, VoiceTraits

__all__ = ["KeyMaker", "pack", "unpack"]

KEY_VERSION: Final = 1
"""Raised whenever the same bytes would come to mean something else."""
_MAGIC: Final = b"llms1"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Speech)
_json = msgspec.json.Encoder(order="sorted")


class KeyMaker:
    """Makes the keys of the pieces of one text: everything that decides their audio, and nothing else.

    What is said before and after a piece is not in its key: it bends the tone a little, and so does every repetition.
    In it, a changed sentence would be paid for three times.
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
        cause = ""
        try:
            scope = _json.encode(
                [KEY_VERSION, namespace, provider, dict(identity), spoken_by, dict(settings), known, timed]
            )
            self._scope = hashlib.sha256(scope + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            cause = str(error)
        if cause:
            raise BadRequest(
                f"the settings are not JSON: {cause}",
                code="LC306",
                expected="settings of dicts, lists, texts, numbers, true, false and null",
            )

    def key(self, text: str) -> str:
        """Return the key of one piece, 66 characters."""
        digest = self._scope.copy()
        digest.update(text.encode())
        return "v:" + digest.hexdigest()


def pack(key: str, speech: Speech) -> bytes:
    """Return *speech* as bytes that say whose they are: a value found under another key is not believed."""
    return _MAGIC + key.encode() + _encoder.encode(speech)


def unpack(key: str, data: bytes) -> Speech | None:
    """Return the speech, or None where *data* is damaged or another key's."""
    head = _MAGIC + key.encode()
    if not data.startswith(head):
        return None
    try:
        return _decoder.decode(memoryview(data)[len(head) :])
    except msgspec.MsgspecError:
        return None
