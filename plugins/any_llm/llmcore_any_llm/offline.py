"""Count tokens and compute upper bounds and prices, without the package any-llm, a key or the network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from llmcore.errors import BadRequest
from llmcore.support.chat_bounds import get_answer_count, get_output_limit
from llmcore.types import ChatRequest, EmbeddingLimits, Message, TokenCount, Usage
from llmcore_any_llm.options import AnyLLMOptions
from llmcore_any_llm.vendors import LOCAL, PRICES, VendorModel, split_model
from llmcore_openai_optimized import bounds, prices, tokens

__all__ = ["Offline"]

_UNKNOWN: Final = ""
"""Replaces the model's name when tokens are counted, so that the count is an estimate. The real name could select OpenAI's
tokenizer."""
_ANY: Final = 100_000_000
"""A number of tokens far beyond the context length of any model."""
_LIMITS: Final = EmbeddingLimits(max_texts=64)


class Offline:
    """Implement `TokenCounter`, `BodyCounter`, `PricingProvider`, `UsageBounds` and `EmbeddingBounds` of `llmcore.contracts`."""

    def __init__(self, options: AnyLLMOptions) -> None:
        self._options = options

    def count_tokens(
        self, content: str | Sequence[Message] | ChatRequest, model: str | None = None
    ) -> TokenCount:
        """See `TokenCounter.count_tokens`. The count is an estimate."""
        del model
        if isinstance(content, ChatRequest):
            content = msgspec.structs.replace(content, model=_UNKNOWN)
        return tokens.count(content, _UNKNOWN)

    def count_body(self, body: Mapping[str, Any]) -> TokenCount:
        """See `BodyCounter.count_body`."""
        return tokens.count({**body, "model": _UNKNOWN})

    def price(
        self, model: str, usage: Usage, service_tier: str | None = None, *, at: datetime | None = None
    ) -> Decimal | None:
        """See `PricingProvider.price`. A vendor has its list prices at any address, as OpenAI has with the provider `openai`.

        Answers of a server that the user runs cost 0 if the server runs on this machine. If it runs on another
        machine, their price is unknown.
        """
        target = self._split(model)
        if target is None:
            return None
        if self._is_free(target.vendor):
            return Decimal(0)
        if target.vendor in LOCAL:
            return None
        vendor = PRICES.get(target.vendor, target.vendor)
        return prices.price(target.model, usage, service_tier, at=at, vendor=vendor)

    def most_usage(self, request: ChatRequest, *, exact: bool = False) -> Usage | None:  # noqa: ARG002 - without a tokenizer, no count is exact
        """See `UsageBounds.most_usage`."""
        prompt = bounds.bound_prompt(msgspec.structs.replace(request, model=_UNKNOWN))
        limit = get_output_limit(request.parameters)
        target = self._split(request.model)
        if target is not None and self._is_free(target.vendor):
            prompt, limit = prompt or _ANY, limit or _ANY
        if prompt is None or limit is None:
            return None
        answers = limit * get_answer_count(request.parameters)
        return Usage(input_tokens=prompt, output_tokens=answers, cache_write_tokens=prompt, estimated=True)

    def embedding_limits(self, model: str) -> EmbeddingLimits:  # noqa: ARG002 - all models have the same limits
        """See `EmbeddingBounds.embedding_limits`."""
        return _LIMITS

    def _is_free(self, vendor: str) -> bool:
        if vendor not in LOCAL:
            return False
        return _is_this_machine(self._options.api_base or os.environ.get(LOCAL[vendor]) or "localhost")

    def _split(self, model: str) -> VendorModel | None:
        try:
            return split_model(model, self._options.vendor)
        except BadRequest:  # sending the request raises the error again
            return None


def _is_this_machine(address: str) -> bool:
    """Return whether a client at *address* reaches this machine. The scheme, the host and the port may be missing."""
    try:
        host = urlsplit(address if "//" in address else f"//{address}").hostname or "localhost"
    except ValueError:
        return False
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with suppress(ValueError):
        number = ip_address(host)
        return number.is_loopback or number.is_unspecified
    return False
