"""Read the cost that the server reports: in `usage`, or in a header of the LiteLLM proxy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from llmcore_openai_optimized.rate_limits import get_raw_headers

__all__ = ["read_cost"]

_FLAT: Final = Decimal(100)
_PER_TOKEN: Final = Decimal("0.001")
"""The maximum plausible cost of an answer in USD: a flat amount, and an amount for each token.

A higher cost is ignored as a mistake of the server, for example an amount in another unit. The most expensive
model of the price tables costs 0.0006 a token; servers add fees for searches and images.
"""
_TICKS: Final = Decimal("1e-10")
"""USD per tick, the unit in which xAI bills.

Source: https://docs.x.ai/docs/key-information/consumption-and-rate-limits
"""
_NUMBER: Final = re.compile(r"\d{1,12}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)
_LITELLM: Final = b"x-litellm-response-cost"
_SHORTEST: Final = len(_LITELLM)


def read_cost(usage: Mapping[str, Any], headers: Mapping[str, str], tokens: int) -> Decimal | None:
    """Return the cost in USD; None if it is missing or implausible.

    A cost of 0 in `usage` means that the request was free. A cost of 0 in LiteLLM's header means that the cost is
    unknown: LiteLLM sends 0 for a model without a price, and before a stream begins.

    Args:
        usage: The `usage` of the answer.
        headers: The headers of the answer.
        tokens: Tokens of prompt and answer, to check the amount.
    """
    most = _FLAT + tokens * _PER_TOKEN
    cost = _read_usage_cost(usage)
    if cost is None:
        cost = _read_header_cost(headers) or None
    return cost if cost is not None and cost <= most else None


def _read_usage_cost(usage: Mapping[str, Any]) -> Decimal | None:
    cost = usage.get("cost")
    if isinstance(cost, Mapping):  # Perplexity sends an object with the cost and its parts
        if cost.get("currency", "USD") != "USD":
            return None
        return _parse_amount(cost.get("total_cost"))
    if cost is not None and usage.get("currency", "USD") == "USD":
        return _add_upstream_cost(_parse_amount(cost), usage)
    ticks = _parse_amount(usage.get("cost_in_usd_ticks"))
    if ticks is not None:
        return ticks * _TICKS
    return _parse_amount(usage.get("estimated_cost"))  # DeepInfra


def _add_upstream_cost(cost: Decimal | None, usage: Mapping[str, Any]) -> Decimal | None:
    """Add the upstream cost if an OpenRouter call used the caller's own key at the vendor.

    The field `cost` then contains only OpenRouter's fee.
    """
    if usage.get("is_byok") is not True or cost is None:
        return cost
    details = usage.get("cost_details")
    upstream = _parse_amount(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
    return None if upstream is None else cost + upstream


def _read_header_cost(headers: Mapping[str, str]) -> Decimal | None:
    found: dict[bytes, Decimal | None] = {}
    for name, value in get_raw_headers(headers):
        if len(name) >= _SHORTEST and (low := name.lower()).startswith(_LITELLM):
            found[low[len(_LITELLM) :]] = _parse_amount(value.decode("latin-1"))
    cost = found.get(b"")
    if cost is not None:
        return cost
    original = found.get(b"-original")
    if original is None:
        return None
    less, more = found.get(b"-discount-amount"), found.get(b"-margin-amount")
    return max(original - (less or 0) + (more or 0), Decimal(0))


def _parse_amount(value: Any) -> Decimal | None:
    """Return *value*, a number or a numeric text, as an amount.

    The result is None for a negative or infinite number, NaN, and any other value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = value.strip() if isinstance(value, str) else repr(value)
    return Decimal(text) if _NUMBER.fullmatch(text) else None
