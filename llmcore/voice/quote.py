"""The maximum cost of a piece of speech, and its real cost afterwards: the number of characters determines both."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from llmcore.errors import LLMCoreError, PriceUnknown
from llmcore.interrupts import must_propagate
from llmcore.ledger.prices import PriceLike, compute_speech_cost, find_price
from llmcore.log import get_logger

if TYPE_CHECKING:
    from llmcore.voice.call import SpeechCall

__all__ = ["SpeechQuote", "price_speech"]


class SpeechQuote:
    """Implements `llmcore.ledger.quote.Quote`. The number of characters is known in advance."""

    def __init__(self, call: SpeechCall, prices: Mapping[str, PriceLike], characters: int) -> None:
        self._call = call
        self._prices = prices
        self._characters = characters

    def compute_maximum(self, *, exact: bool) -> Decimal:  # noqa: ARG002 - the number of characters is always exact
        """See `Quote.compute_maximum`."""
        model = "" if self._call.traits is None else self._call.traits.model
        cost = price_speech(self._call, model, self._characters, self._prices)
        if cost is not None:
            return cost
        name = f"{self._call.backend.name}:{model}"
        raise PriceUnknown(
            f"a budget applies, but the price of speech of `{name}` is unknown",
            expected='its price in USD per million characters, or unknown_price = "allow" in [budget]',
            fix=self._call.backend.format_set_line(
                ("prices", name), "{ input = 0, output = 0, characters = 80 }"
            ),
        )

    def find_fix(self, left: Decimal) -> str | None:
        """See `Quote.find_fix`."""
        del left  # no argument makes speech cheaper, only a shorter text does
        return None


def price_speech(
    call: SpeechCall, model: str, characters: int, prices: Mapping[str, PriceLike]
) -> Decimal | None:
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
        get_logger(__name__).warning("the price of %s is unknown: %s", model, error.message)
        return None
    except BaseException as error:
        if must_propagate(error):
            raise
        get_logger(__name__).warning("the price of %s is unknown: %s", model, type(error).__name__)
        return None
    return cost
