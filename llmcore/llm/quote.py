"""What a chat costs: the most before it is asked, and what it came to afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.calls.backend import Backend
from llmcore.calls.options import scrubbed
from llmcore.errors import BudgetError, PriceUnknown
from llmcore.ledger.prices import PriceLike, cost_at, known_price, most_at
from llmcore.log import logger
from llmcore.types import ChatRequest, Reply, Usage

__all__ = ["ChatQuote", "counted"]

_ROLE: Final = 16
"""Tokens that a message costs beside its text, at most, where the provider does not say."""


class ChatQuote:
    """Keeps `llmcore.ledger.charge.Quote`."""

    def __init__(self, backend: Backend, request: ChatRequest, prices: Mapping[str, PriceLike]) -> None:
        self._backend = backend
        self._request = request
        self._own = prices.get(f"{backend.name}:{request.model}")

    def most(self, *, exact: bool) -> Decimal:
        """See `Quote.most`."""
        provider, request = self._backend.offline, self._request
        usage = _bounded(self._backend, request, exact=exact)
        if usage is None:
            raise BudgetError(
                f"a budget applies, and nothing bounds what `{self._backend.name}:{request.model}` can use",
                code="LC604",
                expected="max_tokens=, and no parts whose size only the server knows",
                fix="chat(..., max_tokens=1000)",
            )
        if self._own is not None:
            return most_at(self._own, usage)
        cost = known_price(provider, request.model, usage, _tier(request))
        if cost is None:
            name = f"{self._backend.name}:{request.model}"
            raise PriceUnknown(
                f"a budget applies, and nobody knows what `{name}` costs",
                expected='its price in USD per million tokens, or unknown_price = "allow" in [budget]',
                fix=f'prices."{name}" = {{ input = 0.25, output = 2.00 }}',
            )
        return cost

    def cost(self, reply: Reply) -> Decimal | None:
        """Return what the answer cost; None where nobody knows."""
        if reply.usage.estimated and not reply.usage.total_tokens:
            return None
        if self._own is not None:
            return cost_at(self._own, reply.usage)
        if reply.cost is not None:
            return reply.cost
        model = reply.model or self._request.model
        return known_price(self._backend.offline, model, reply.usage, reply.service_tier)


def counted(backend: Backend, request: ChatRequest, reply: Reply) -> Usage:
    """Return the usage of an answer; where the backend sent none, local counts stand in, and say so."""
    usage = reply.usage
    if usage.total_tokens or not (reply.text or reply.tool_calls):
        return usage
    said = reply.text + "".join(call.name + call.arguments for call in reply.tool_calls)
    try:
        count: Any = getattr(backend.offline, "count_tokens", None)
        if count is not None:
            into, out = int(count(request)), int(count(said, request.model))
            return Usage(input_tokens=into, output_tokens=out, estimated=True)
    except Exception as error:  # noqa: BLE001 - a paid answer is not lost over its count
        _cannot(backend, "count", error)
    return Usage(estimated=True)


def _bounded(backend: Backend, request: ChatRequest, *, exact: bool) -> Usage | None:
    bounds: Any = getattr(backend.offline, "most_usage", None)
    if bounds is None:
        return _most_usage(request)
    try:
        usage: Usage | None = bounds(request, exact=exact)
    except Exception as error:  # noqa: BLE001 - a stranger's code
        _cannot(backend, "bound", error)
        return _most_usage(request)
    return usage


def _cannot(backend: Backend, what: str, error: Exception) -> None:
    said = scrubbed(str(error), backend.options)
    logger(__name__).warning(
        "the llm provider `%s` cannot %s its tokens: %s: %s", backend.name, what, type(error).__name__, said
    )


def _tier(request: ChatRequest) -> str | None:
    tier = request.parameters.get("service_tier")
    return tier if isinstance(tier, str) else None


def _most_usage(request: ChatRequest) -> Usage | None:
    """Return a bound for a provider that knows none: a token is at least a byte."""
    given = request.parameters
    most = given.get("max_completion_tokens", given.get("max_tokens"))
    if not isinstance(most, int) or any(
        not isinstance(each.get("content"), str | None) for each in request.messages
    ):
        return None
    size = len(msgspec.json.encode(request.body(), enc_hook=repr))
    answers = given.get("n") or 1
    return Usage(
        input_tokens=size + _ROLE * (len(request.messages) + 1), output_tokens=most * max(1, int(answers))
    )
