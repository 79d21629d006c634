"""The abilities that need no SDK, key or network: the traits and the price of a speech."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from llmcore.types import VoiceTraits
from llmcore_voice_tts.account import Account
from llmcore_voice_tts.models import get_credits_cost, get_model
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.request import make_speech_request

__all__ = ["Offline"]


class Offline:
    """Implement `llmcore.contracts.VoiceOffline`."""

    def __init__(self, options: ElevenLabsOptions) -> None:
        self._options = options
        self._account = Account.from_options(options)

    def voice_traits(self, voice: str | None, settings: Mapping[str, Any]) -> VoiceTraits:
        """See `VoiceOffline.voice_traits`."""
        request = make_speech_request(self._options, voice, settings)
        # The identity needs no other options, because the body contains everything that options add to a request.
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

    def speech_price(self, model: str, characters: int, at: datetime | None = None) -> Decimal | None:  # noqa: ARG002 - only the current price is known
        """See `VoiceOffline.speech_price`. The bill in credits may differ by rounding."""
        each = get_model(model).credits_per_character
        return None if each is None else get_credits_cost(model, each * characters)
