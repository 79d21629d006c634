"""The types of embeddings: request, limits and result. `llmcore.types` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from llmcore.usage_types import CostSource, RateLimits, Usage

__all__ = ["EmbeddingLimits", "EmbeddingRequest", "Embeddings"]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One checked request for embeddings: the argument of a provider's `embed`."""

    api: ClassVar[str] = "embeddings"
    """The API whose format the request has; see `ChatRequest.api`."""
    model: str
    """The backend's name of the model."""
    texts: Sequence[str]
    """The texts to embed: at least one, and no empty text."""
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """The other request parameters as plain JSON values: `dimensions` if set, and the parameters of `extra_body=`."""
    timeout_s: float | None = None
    """Seconds until the call's deadline."""
    idle_s: float | None = None
    """The idle timeout: if the provider receives no byte for this many seconds, it raises `Timeout`."""

    def body(self) -> dict[str, Any]:
        """Return the body to send to OpenAI's embeddings API."""
        return {"model": self.model, "input": list(self.texts), **self.parameters}


class EmbeddingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one request for embeddings. None means that the vendor has no such limit."""

    max_texts: int | None = None
    """Maximum number of texts in one request."""
    max_tokens: int | None = None
    """Maximum number of tokens in all texts of a request together."""
    max_text_tokens: int | None = None
    """Maximum number of tokens in one text."""


class Embeddings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """The vectors of some texts."""

    vectors: Sequence[list[float]]
    """One vector for each text, in the order of the texts."""
    model: str = ""
    """The backend's name of the model that answered."""
    provider: str = ""
    """The name of the provider that answered."""
    usage: Usage = Usage()
    """The tokens of the requests that were sent. Texts from the cache add no tokens."""
    cost: Decimal | None = None
    """The cost in USD of the requests that were sent.

    None if the price is unknown; 0 if all texts came from the cache.
    """
    cached: Sequence[bool] = msgspec.field(default_factory=list)
    """For each text, in order: True if its vector came from the cache."""
    saved: Decimal | None = None
    """USD that the cache saved; None if nothing was saved or the price is unknown."""
    cost_source: CostSource | None = None
    """The source of `cost`; see `Reply.cost_source`."""
    latency_s: float = 0.0
    """Seconds from the call to the answer."""
    request_id: str | None = None
    """The backend's id of the last request."""
    limits: RateLimits | None = None
    """The rate limits that the backend reported."""
