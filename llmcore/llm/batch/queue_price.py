"""The cost of a request in a vendor's queue: the price of the tier "batch", or half of a configured price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from llmcore.llm.quote import ChatQuote

if TYPE_CHECKING:
    from llmcore.ledger.prices import PriceLike
    from llmcore.llm.call import ChatCall

__all__ = ["TIER", "make_queue_quote"]

TIER: Final = "batch"
_SHARE: Final = Decimal("0.5")


class _HalfPrices(Mapping[str, "PriceLike"]):
    """The prices of `[prices]`, halved, because `[prices]` contains prices of the live API."""

    def __init__(self, prices: Mapping[str, PriceLike]) -> None:
        self._prices = prices

    def __getitem__(self, name: str) -> PriceLike:
        price = self._prices[name]
        assert isinstance(price, msgspec.Struct)  # noqa: S101 - the table comes from the configuration
        halved = {
            field: value * _SHARE
            for field, value in msgspec.structs.asdict(price).items()
            if isinstance(value, Decimal)
        }
        return msgspec.structs.replace(price, **halved)

    def __iter__(self) -> Iterator[str]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)


def make_queue_quote(call: ChatCall, prices: Mapping[str, PriceLike]) -> ChatQuote:
    """Return the quote of *call* in the vendor's queue."""
    parameters = {**call.request.parameters, "service_tier": TIER}
    request = msgspec.structs.replace(call.request, parameters=parameters)
    return ChatQuote(call.backend, request, _HalfPrices(prices))
