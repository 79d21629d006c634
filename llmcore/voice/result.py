"""The result of a request for speech: the checked audio, its duration and its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from llmcore.errors import NotAudio
from llmcore.ledger.prices import PriceLike, find_price
from llmcore.support.errors import raise_unchained
from llmcore.types import Speech
from llmcore.voice.audio.check import read_audio
from llmcore.voice.quote import price_speech

if TYPE_CHECKING:
    from llmcore.voice.call import SpeechCall

__all__ = ["complete_speech", "mark_cached", "require_audio"]

T = TypeVar("T")

_NOTHING: Final = Decimal(0)


def complete_speech(speech: Speech, call: SpeechCall, prices: Mapping[str, PriceLike]) -> Speech:
    """Return *speech* with the fields that the host fills in.

    Raises:
        NotAudio: The audio is not playable to its end.
    """
    traits = call.traits
    rate = speech.sample_rate_hz or (None if traits is None else traits.sample_rate_hz)
    found = require_audio(call, lambda: read_audio(speech.audio, speech.format, rate))
    characters = speech.characters or len(call.text)
    model = speech.model or ("" if traits is None else traits.model)
    own = find_price(prices, call.backend.name, model) is not None
    return msgspec.structs.replace(
        speech,
        audio=found.audio,
        sample_rate_hz=found.sample_rate_hz or rate,
        duration_s=speech.duration_s if found.duration_s is None else found.duration_s,
        characters=characters,
        billed_characters=characters,
        cost=price_speech(call, model, characters, prices) if own or speech.cost is None else speech.cost,
        cached=False,
        saved=None,
        voice=speech.voice or (call.voice if traits is None else traits.voice) or "",
        model=model,
        provider=call.backend.name,
    )


def mark_cached(speech: Speech) -> Speech:
    """Return *speech* marked as cached, at no cost for this call."""
    return msgspec.structs.replace(speech, cached=True, cost=_NOTHING, saved=speech.cost, billed_characters=0)


def require_audio(call: SpeechCall, check: Callable[[], T]) -> T:
    """Return the result of *check*; add the provider's name to a `NotAudio` error."""
    try:
        return check()
    except NotAudio as error:
        fault = error
        raise_unchained(
            NotAudio(
                f"the voice provider `{call.backend.name}` sent audio that is not playable: {fault.message}",
                expected=fault.expected,
            )
        )
