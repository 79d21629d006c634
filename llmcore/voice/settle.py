"""What the host adds to audio that arrived: whether it plays, how long, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from llmcore.errors import LLMCoreError, NotAudio
from llmcore.ledger.prices import PriceLike
from llmcore.log import logger
from llmcore.types import Speech
from llmcore.voice.audio.check import heard

if TYPE_CHECKING:
    from llmcore.voice.exchange import PieceCall

__all__ = ["given", "refused", "settled"]

T = TypeVar("T")

_NOTHING: Final = Decimal(0)
_MILLION: Final = Decimal(1_000_000)


def settled(speech: Speech, call: PieceCall, prices: Mapping[str, PriceLike]) -> Speech:
    """Return *speech* with what the host knows of it.

    Raises:
        NotAudio: It cannot be played to its end.
    """
    traits = call.traits
    rate = speech.sample_rate_hz or (None if traits is None else traits.sample_rate_hz)
    found = refused(call, lambda: heard(speech.audio, speech.format, rate))
    characters = speech.characters or len(call.text)
    model = speech.model or ("" if traits is None else traits.model)
    return msgspec.structs.replace(
        speech,
        audio=found.audio,
        sample_rate_hz=found.sample_rate_hz or rate,
        duration_s=speech.duration_s if found.duration_s is None else found.duration_s,
        characters=characters,
        billed_characters=characters,
        cost=_cost(speech, call, model, prices),
        cached=False,
        saved=None,
        voice=speech.voice or (call.voice if traits is None else traits.voice) or "",
        model=model,
        provider=call.backend.name,
    )


def given(speech: Speech) -> Speech:
    """Return *speech* as one that this call does not pay for."""
    return msgspec.structs.replace(speech, cached=True, cost=_NOTHING, saved=speech.cost, billed_characters=0)


def refused(call: PieceCall, check: Callable[[], T]) -> T:
    """Return what *check* does; a `NotAudio` of its is told with the provider's name."""
    try:
        return check()
    except NotAudio as error:
        fault = error
    raise NotAudio(
        f"the voice provider `{call.backend.name}` sent no audio that plays: {fault.message}",
        expected=fault.expected,
    )


def _cost(speech: Speech, call: PieceCall, model: str, prices: Mapping[str, PriceLike]) -> Decimal | None:
    """Return USD: at the configuration's own price, else as the provider told, else as it knows."""
    own = prices.get(f"{call.backend.name}:{model}")
    if own is not None:
        return len(call.text) * own.input / _MILLION
    if speech.cost is not None:
        return speech.cost
    price = getattr(call.backend.offline, "speech_price", None)
    if price is None:
        return None
    try:
        cost: Decimal | None = price(model, len(call.text))
    except LLMCoreError as error:
        logger(__name__).warning("the price of %s is not known: %s", model, error.message)
        return None
    except Exception as error:  # noqa: BLE001 - a paid speech is not lost over its price
        logger(__name__).warning("the price of %s is not known: %s", model, type(error).__name__)
        return None
    return cost
