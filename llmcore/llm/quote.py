"""The quote of a chat: its maximum cost before the request, and its real cost afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from llmcore.calls.backend import Backend, is_loopback
from llmcore.calls.options import describe
from llmcore.errors import BudgetError, PriceUnknown
from llmcore.interrupts import must_propagate
from llmcore.ledger.prices import (
    PriceLike,
    compute_cost,
    compute_max_cost,
    find_price,
    get_billed_cost,
    get_provider_cost,
    is_free,
)
from llmcore.log import get_logger
from llmcore.support.chat_bounds import OUTPUT_LIMITS, get_answer_count, get_output_limit
from llmcore.types import ChatRequest, CostSource, Reply, Usage

__all__ = ["ChatQuote", "bound_usage", "count_usage"]

_SHORTEST: Final = 16
"""The lowest limit, in tokens, that an error suggests for an answer."""
_STEP: Final = 1000
_ROLE: Final = 16
"""Maximum number of tokens that a message has in addition to its text.

This number is used if the provider does not report a bound.
"""


class ChatQuote:
    """Implements `llmcore.ledger.quote.Quote`."""

    def __init__(self, backend: Backend, request: ChatRequest, prices: Mapping[str, PriceLike]) -> None:
        self._backend = backend
        self._request = request
        self._prices = prices
        self._own = find_price(prices, backend.name, request.model)

    def compute_maximum(self, *, exact: bool) -> Decimal:
        """See `Quote.compute_maximum`.

        If the server may choose among several models, the price of the most expensive model is used.
        """
        return max(
            self._compute_maximum(request, exact=exact) for request in _list_alternatives(self._request)
        )

    def _compute_maximum(self, request: ChatRequest, *, exact: bool) -> Decimal:
        own = find_price(self._prices, self._backend.name, request.model)
        if own is not None and is_free(own):  # the model is free, so no upper bound of the usage is needed
            return Decimal(0)
        provider = self._backend.offline
        usage = bound_usage(self._backend, request, exact=exact)
        if usage is None:
            raise self._make_unbounded_error(request, is_priced=own is not None)
        if own is not None:
            return compute_max_cost(own, usage)
        cost = get_provider_cost(provider, request.model, usage, _get_tier(request))
        if cost is None:
            raise self._make_price_error(f"{self._backend.name}:{request.model}")
        return cost

    def find_fix(self, left: Decimal) -> str | None:
        """See `Quote.find_fix`.

        The fix is a lower output limit, if the budget allows at least `_SHORTEST` tokens after the prompt.
        """
        limit = get_output_limit(self._request.parameters)
        try:
            least, more = self._compute_with(_SHORTEST), self._compute_with(_SHORTEST + _STEP)
        except BudgetError:  # without a price, no limit can be computed
            return None
        if left < least or more <= least:
            return None
        fitting = _SHORTEST + int((left - least) * _STEP / (more - least))
        is_lower = limit is None or fitting < limit
        if not is_lower or self._compute_with(fitting) > left:
            return None
        return f"chat(..., {self._limit_name}={fitting})"

    def _compute_with(self, limit: int) -> Decimal:
        """Return the maximum cost if the answer has at most *limit* tokens."""
        request = self._with_limit(self._request, limit)
        return max(self._compute_maximum(each, exact=True) for each in _list_alternatives(request))

    def _with_limit(self, request: ChatRequest, limit: int) -> ChatRequest:
        """Return *request* with *limit* as the maximum number of output tokens."""
        return msgspec.structs.replace(request, parameters={**request.parameters, self._limit_name: limit})

    @property
    def _limit_name(self) -> str:
        return next((name for name in OUTPUT_LIMITS if name in self._request.parameters), "max_tokens")

    def _make_price_error(self, name: str) -> PriceUnknown:
        return PriceUnknown(
            f"a budget applies, but the price of `{name}` is unknown",
            expected="its price in USD per million tokens, 0 for your own server, or "
            'unknown_price = "allow" in [budget]',
            fix=self._make_price_line(name),
        )

    def _make_unbounded_error(self, request: ChatRequest, *, is_priced: bool) -> BudgetError:
        """Return the error for a request without an upper bound.

        If the price is unknown, the fix sets a price. If the price is known, the fix limits the answer; it is None if
        the cost would still have no upper bound.
        """
        name, limit = f"{self._backend.name}:{request.model}", f"chat(..., {self._limit_name}={_STEP})"
        fix: str | None = limit
        expected, notes = "max_tokens=, and no parts whose size only the server knows", []
        is_local, line = is_loopback(self._backend), self._make_price_line(name)
        sample = Usage(input_tokens=1, output_tokens=1)
        if is_priced or get_provider_cost(self._backend.offline, request.model, sample, None) is not None:
            message = f"a budget applies, but the usage of `{name}` has no upper bound"
            if bound_usage(self._backend, self._with_limit(request, _STEP), exact=False) is None:
                fix = None  # no limit helps against a part of unknown size, or a tool that the server runs
            if is_local:
                notes.append(f"your own server costs nothing; with a price of 0 no bound is needed: {line}")
        else:
            message, fix = (
                f"a budget applies, but `{name}` has neither a price nor an upper bound of its usage",
                line,
            )
            if is_local:
                notes.append("your own server costs nothing; with a price of 0 no bound is needed")
            else:
                expected = 'a price in USD per million tokens and max_tokens=, or unknown_price = "allow" in [budget]'
                notes.append("the prices in the fix are examples: enter those of the vendor")
                notes.append(f"a model with a price needs a limit of the answer too: {limit}")
        return BudgetError(message, code="LC604", expected=expected, notes=notes, fix=fix)

    def _make_price_line(self, name: str) -> str:
        price = "0" if is_loopback(self._backend) else "{ input = 0.25, output = 2.00 }"
        return self._backend.format_set_line(("prices", name), price)

    def compute_price(self, usage: Usage) -> Decimal | None:
        """Return the cost of *usage* by the configured price, or else by the provider's price; None if both are unknown."""
        if self._own is not None:
            return compute_cost(self._own, usage)
        return get_provider_cost(self._backend.offline, self._request.model, usage, _get_tier(self._request))

    def compute_final_cost(self, reply: Reply) -> tuple[Decimal | None, CostSource | None]:
        """Return the cost of the answer and the source of the cost; both are None if the cost is unknown.

        A cost that the server reports takes precedence over all prices, because it includes fees and discounts.
        """
        usage = reply.usage
        if (billed := get_billed_cost(usage)) is not None:
            return billed, "server"
        if usage.estimated and not usage.total_tokens:
            return None, None
        own = self._own
        if self._request.parameters.get("models"):  # another model than the requested one may have answered
            own = find_price(self._prices, self._backend.name, reply.model) or own
        if own is not None:
            return compute_cost(own, usage), "config"
        cost = reply.cost
        if cost is None:
            model = reply.model or self._request.model
            cost = get_provider_cost(self._backend.offline, model, usage, reply.service_tier)
        return cost, None if cost is None else "provider"


def count_usage(backend: Backend, request: ChatRequest, reply: Reply) -> Usage:
    """Return the usage of an answer. If the backend sent none, return a local count that is marked as estimated."""
    usage = reply.usage
    if usage.total_tokens or not (reply.text or reply.tool_calls):
        return usage
    output = reply.text + "".join(call.name + call.arguments for call in reply.tool_calls)
    try:
        count: Any = getattr(backend.offline, "count_tokens", None)
        if count is not None:
            into, out = int(count(request)), int(count(output, request.model))
            return Usage(input_tokens=into, output_tokens=out, estimated=True, cost=usage.cost)
    except BaseException as error:
        if must_propagate(error):
            raise
        _log_failure(backend, "cannot count the tokens of a request", error)
    return Usage(estimated=True, cost=usage.cost)


def bound_usage(backend: Backend, request: ChatRequest, *, exact: bool) -> Usage | None:
    """Return an upper bound of the usage of *request*; None if no bound is known."""
    bounds: Any = getattr(backend.offline, "most_usage", None)
    if bounds is None:
        return _find_most_usage(request)
    try:
        usage: Usage | None = bounds(request, exact=exact)
    except BaseException as error:
        if must_propagate(error):
            raise
        _log_failure(backend, "cannot compute the maximum usage of a request", error)
        return _find_most_usage(request)
    return usage


def _log_failure(backend: Backend, what: str, error: BaseException) -> None:
    said = describe(error, backend.options)
    get_logger(__name__).warning("the llm provider `%s` %s: %s", backend.name, what, said)


def _list_alternatives(request: ChatRequest) -> list[ChatRequest]:
    """Return *request*, and one copy for each model in the parameter `models`.

    A router may send the request to any of these models.
    """
    models = request.parameters.get("models")
    names = [each for each in models if isinstance(each, str)] if isinstance(models, list) else []
    return [request, *(msgspec.structs.replace(request, model=name) for name in names)]


def _get_tier(request: ChatRequest) -> str | None:
    tier = request.parameters.get("service_tier")
    return tier if isinstance(tier, str) else None


def _find_most_usage(request: ChatRequest) -> Usage | None:
    """Return an upper bound of the usage for a provider without `most_usage`; None if the request has no such bound.

    Every token takes at least one byte, so the size of the request in bytes is an upper bound of its tokens.
    """
    given = request.parameters
    most, answers = get_output_limit(given), get_answer_count(given)
    if most is None or any(not isinstance(each.get("content"), str | None) for each in request.messages):
        return None
    size = len(msgspec.json.encode(request.body(), enc_hook=repr))
    return Usage(input_tokens=size + _ROLE * (len(request.messages) + 1), output_tokens=most * answers)
