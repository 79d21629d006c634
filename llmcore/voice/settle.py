"""What the host adds to audio that arrived: whether it plays, how long, what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from llmcore.errors import LLMCoreError, NotAudio, PriceUnknown
from llmcore.ledger.prices import PriceLike, speech_cost_at
from llmcore.log import logger
from llmcore.types import Speech
from llmcore.voice.audio.check import heard

if TYPE_CHECKING:
    from llmcore.voice.exchange import PieceCall

__all__ = ["SpeechQuote", "given", "refused", "settled"]

T = TypeVar("T")

_NOTHING: Final = Decimal(0)


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
    own = f"{call.backend.name}:{model}" in prices
    return msgspec.structs.replace(
        speech,
        audio=found.audio,
        sample_rate_hz=found.sample_rate_hz or rate,
        duration_s=speech.duration_s if found.duration_s is None else found.duration_s,
        characters=characters,
        billed_characters=characters,
        cost=_price(call, model, characters, prices) if own or speech.cost is None else speech.cost,
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


class SpeechQuote:
    """Keeps `llmcore.ledger.charge.Quote`: characters are known before they are spoken."""

    def __init__(self, call: PieceCall, prices: Mapping[str, PriceLike], characters: int) -> None:
        self._call = call
        self._prices = prices
        self._characters = characters

    def most(self, *, exact: bool) -> Decimal:  # noqa: ARG002 - a text has one length
        """See `Quote.most`."""
        model = "" if self._call.traits is None else self._call.traits.model
        cost = _price(self._call, model, self._characters, self._prices)
        if cost is not None:
            return cost
        name = f"{self._call.backend.name}:{model}"
        raise PriceUnknown(
            f"a budget applies, and nobody knows what speech of `{name}` costs",
            expected='its price in USD per million characters, or unknown_price = "allow" in [budget]',
            fix=f'prices."{name}" = {{ input = 0, output = 0, characters = 80 }}',
        )


def _price(call: PieceCall, model: str, characters: int, prices: Mapping[str, PriceLike]) -> Decimal | None:
    """Return USD: at the configuration's own price, else as the provider knows."""
    own = prices.get(f"{call.backend.name}:{model}")
    if own is not None:
        return speech_cost_at(own, characters)
    price = getattr(call.backend.offline, "speech_price", None)
    if price is None:
        return None
    try:
        cost: Decimal | None = price(model, characters)
    except LLMCoreError as error:
        logger(__name__).warning("the price of %s is not known: %s", model, error.message)
        return None
    except Exception as error:  # noqa: BLE001 - a paid speech is not lost over its price
        logger(__name__).warning("the price of %s is not known: %s", model, type(error).__name__)
        return None
    return cost
