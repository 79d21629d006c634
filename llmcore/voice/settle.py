"""Check the received audio, and add its duration and cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from llmcore.errors import LLMCoreError, NotAudio, PriceUnknown
from llmcore.interrupts import must_propagate
from llmcore.ledger.prices import PriceLike, compute_speech_cost, find_price
from llmcore.log import logger
from llmcore.support.errors import raise_unchained
from llmcore.types import Speech
from llmcore.voice.audio.check import read_audio

if TYPE_CHECKING:
    from llmcore.voice.call import SpeechCall

__all__ = ["SpeechQuote", "mark_cached", "require_audio", "settle_speech"]

T = TypeVar("T")

_NOTHING: Final = Decimal(0)


def settle_speech(speech: Speech, call: SpeechCall, prices: Mapping[str, PriceLike]) -> Speech:
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
        cost=_price(call, model, characters, prices) if own or speech.cost is None else speech.cost,
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


class SpeechQuote:
    """Implements `llmcore.ledger.quote.Quote`. The number of characters is known in advance."""

    def __init__(self, call: SpeechCall, prices: Mapping[str, PriceLike], characters: int) -> None:
        self._call = call
        self._prices = prices
        self._characters = characters

    def compute_maximum(self, *, exact: bool) -> Decimal:  # noqa: ARG002 - the number of characters is always exact
        """See `Quote.compute_maximum`."""
        model = "" if self._call.traits is None else self._call.traits.model
        cost = _price(self._call, model, self._characters, self._prices)
        if cost is not None:
            return cost
        name = f"{self._call.backend.name}:{model}"
        raise PriceUnknown(
            f"a budget applies, but the price of speech of `{name}` is unknown",
            expected='its price in USD per million characters, or unknown_price = "allow" in [budget]',
            fix=self._call.backend.line_to_set(
                ("prices", name), "{ input = 0, output = 0, characters = 80 }"
            ),
        )

    def find_fix(self, left: Decimal) -> str | None:
        """See `Quote.find_fix`."""
        del left  # no argument makes speech cheaper, only a shorter text does
        return None


def _price(call: SpeechCall, model: str, characters: int, prices: Mapping[str, PriceLike]) -> Decimal | None:
    """Return the price in USD; None if unknown. `[prices]` takes precedence over the provider's prices."""
    own = find_price(prices, call.backend.name, model)
    if own is not None:
        return compute_speech_cost(own, characters)
    price = getattr(call.backend.offline, "speech_price", None)
    if price is None:
        return None
    try:
        cost: Decimal | None = price(model, characters)
    except LLMCoreError as error:
        logger(__name__).warning("the price of %s is unknown: %s", model, error.message)
        return None
    except BaseException as error:
        if must_propagate(error):
            raise
        logger(__name__).warning("the price of %s is unknown: %s", model, type(error).__name__)
        return None
    return cost
