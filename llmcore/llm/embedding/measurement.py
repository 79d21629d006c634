"""Measure a text that a batch would embed: tokens, cost, and whether the cache has the vector. Nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from llmcore.calls.steps import Act
from llmcore.errors import PriceUnknown
from llmcore.llm.embedding.arguments import make_calls
from llmcore.llm.embedding.batches import count_tokens
from llmcore.llm.embedding.kind import EMBEDDING
from llmcore.llm.embedding.quote import EmbeddingQuote
from llmcore.llm.embedding.vector_entry import unpack
from llmcore.llm.models import Models
from llmcore.pipeline import Services
from llmcore.pipeline.measurement import Measurement
from llmcore.support.ledger_values import Charge
from llmcore.types import Usage

__all__ = ["measure_text"]

_LEAST_SHARE: Final = 2
"""The factor by which an estimate of tokens may exceed the count of the server."""


def measure_text(
    models: Models, services: Services, body: Mapping[str, Any], options: Mapping[str, Any]
) -> Act[Measurement]:
    """Measure the text of a body of OpenAI's embeddings API.

    Raises:
        BadRequest: The body is not valid.
    """
    given = {name: value for name, value in body.items() if name != "input"}
    named = given.pop("model", None)
    model, dimensions = options.get("model") if named is None else named, given.pop("dimensions", None)
    own: Any = {name: value for name, value in options.items() if name != "model"}
    if given:
        own["extra_body"] = given
    text = body["input"]
    call = make_calls(models, services, [text], model=model, dimensions=dimensions, options=own)[0]
    key = call.keys.get(text)
    is_cached = False
    if key is not None and call.reads:
        data = yield from services.cache.lookup(key)
        is_cached = data is not None and unpack(key, data) is not None
    name = call.request.model
    count = count_tokens(call.backend, name, text)
    tokens, is_exact = (len(text) // 4 + 1, False) if count is None else (int(count), count.exact)
    quote = EmbeddingQuote(call.backend, name, [text], services.prices)
    fewest = tokens if is_exact else tokens // _LEAST_SHARE
    try:
        most: Decimal | None = quote.compute_maximum(exact=True)
    except PriceUnknown:
        most = None
    return Measurement(
        key=key or (name, dimensions, text),
        charge=Charge(
            call="",
            kind=EMBEDDING.name,
            provider=call.backend.name,
            model=name,
            user=call.user,
            tags=call.tags,
        ),
        is_cached=is_cached,
        costs=(
            quote.compute_price(Usage(input_tokens=fewest)),
            quote.compute_price(Usage(input_tokens=tokens)),
            most,
        ),
        tokens=tokens,
        is_exact=is_exact,
    )
