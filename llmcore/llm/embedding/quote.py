"""The maximum cost of a request for embeddings, and its real cost afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from llmcore.calls.backend import Backend, is_loopback
from llmcore.errors import PriceUnknown
from llmcore.ledger.prices import (
    PriceLike,
    compute_cost,
    compute_max_cost,
    find_price,
    get_billed_cost,
    get_provider_cost,
    is_free,
)
from llmcore.llm.embedding.batches import bound_tokens, count_tokens
from llmcore.types import CostSource, Embeddings, Usage

__all__ = ["EmbeddingQuote", "count_usage"]


class EmbeddingQuote:
    """Implements `llmcore.ledger.quote.Quote`."""

    def __init__(
        self, backend: Backend, model: str, texts: Sequence[str], prices: Mapping[str, PriceLike]
    ) -> None:
        self._backend = backend
        self._model = model
        self._texts = texts
        self._own = find_price(prices, backend.name, model)

    def compute_maximum(self, *, exact: bool) -> Decimal:
        """See `Quote.compute_maximum`."""
        if self._own is not None and is_free(self._own):
            return Decimal(0)
        tokens = sum(bound_tokens(self._backend, self._model, text, exact=exact) for text in self._texts)
        usage = Usage(input_tokens=tokens, estimated=True)
        if self._own is not None:
            return compute_max_cost(self._own, usage)
        cost = get_provider_cost(self._backend.offline, self._model, usage, None)
        if cost is not None:
            return cost
        name = f"{self._backend.name}:{self._model}"
        price = "0" if is_loopback(self._backend) else "{ input = 0.02, output = 0 }"
        raise PriceUnknown(
            f"a budget applies, but the price of `{name}` is unknown",
            expected="its price in USD per million tokens, 0 for your own server, or "
            'unknown_price = "allow" in [budget]',
            fix=self._backend.format_set_line(("prices", name), price),
        )

    def find_fix(self, left: Decimal) -> str | None:
        """See `Quote.find_fix`."""
        del left  # no parameter lowers the cost: only fewer or shorter texts cost less
        return None

    def compute_final_cost(self, result: Embeddings) -> tuple[Decimal | None, CostSource | None]:
        """Return the cost of the answer and the source of the cost; both are None if the cost is unknown.

        An amount that the server billed takes precedence.
        """
        usage = result.usage
        if (billed := get_billed_cost(usage)) is not None:
            return billed, "server"
        if self._own is not None:
            return compute_cost(self._own, usage), "config"
        cost = self.compute_price(usage) if result.cost is None else result.cost
        return cost, None if cost is None else "provider"

    def compute_price(self, usage: Usage) -> Decimal | None:
        """Return the price of *usage*; None if unknown."""
        if self._own is not None:
            return compute_cost(self._own, usage)
        return get_provider_cost(self._backend.offline, self._model, usage, None)


def count_usage(backend: Backend, model: str, texts: Sequence[str], usage: Usage) -> Usage:
    """Return *usage*. If the backend sent none, return a local count that is marked as estimated."""
    if usage.total_tokens:
        return usage
    counts = [count_tokens(backend, model, text) for text in texts]
    tokens = sum(
        len(text) // 4 + 1 if count is None else int(count) for text, count in zip(texts, counts, strict=True)
    )
    return Usage(input_tokens=tokens, estimated=True, cost=usage.cost)
