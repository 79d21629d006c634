"""What needs no SDK, key or network: what a speech will be, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from llmcore.types import VoiceTraits
from llmcore_voice_tts.account import Account, ElevenLabsOptions
from llmcore_voice_tts.models import credits_cost, model_named
from llmcore_voice_tts.request import speech_request

__all__ = ["Offline"]


class Offline:
    """Keeps `llmcore.contracts.VoiceOffline`."""

    def __init__(self, options: ElevenLabsOptions) -> None:
        self._options = options
        self._account = Account.of(options)

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        request = speech_request(self._options, voice, settings)
        # All that the options add to the request is in its body.
        identity = {
            "base_url": self._account.base_url,
            "key": self._account.digest(),
            "format": request.format.name,
            "body": msgspec.json.encode(request.body, order="deterministic").decode(),
        }
        return VoiceTraits(
            voice=request.voice,
            model=request.model,
            format=request.format.kind,
            sample_rate_hz=request.format.sample_rate_hz,
            max_characters=request.limits.most_characters,
            identity=identity,
            stitches=bool(request.limits.stitching),
            concurrency=self._options.concurrency,
        )

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:  # noqa: ARG002 - one price is known, of now
        """See `VoiceOffline.speech_price`. What the vendor bills in credits may differ by the rounding of one."""
        each = model_named(model).credits_per_character
        return None if each is None else credits_cost(model, each * characters)
