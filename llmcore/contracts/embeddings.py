"""The optional ability of a language model to embed texts.

Implement the sync or the async protocol. The host provides the missing variant.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from llmcore.types import EmbeddingLimits, EmbeddingRequest, Embeddings

__all__ = ["AsyncEmbeddingProvider", "EmbeddingBounds", "EmbeddingProvider"]


@runtime_checkable
class EmbeddingProvider(Protocol):
    """Embed texts, blocking."""

    def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Send one request and return one vector for each text, in order. The host handles retries, cache and cost.

        All vectors have the same length, which is the parameter `dimensions` if it is set. Never truncate a text:
        raise the server's error. `usage` has the tokens that the server counted, and `usage.cost` the amount that the
        server billed. The host fills in all other fields. Several threads may call at the same time.

        Args:
            request: The request. The texts are within the limits that `EmbeddingBounds` reports. For `timeout_s` and
                `idle_s` see `LLMProvider.complete`.

        Raises:
            ProviderError: As in `LLMProvider.complete`.
        """
        ...


@runtime_checkable
class AsyncEmbeddingProvider(Protocol):
    """Embed texts, asynchronously."""

    async def aembed(self, request: EmbeddingRequest) -> Embeddings:
        """See `EmbeddingProvider.embed`. Several tasks may call at the same time."""
        ...


@runtime_checkable
class EmbeddingBounds(Protocol):
    """Report the limits of one request for embeddings. The host divides a list of texts accordingly."""

    def embedding_limits(self, model: str) -> EmbeddingLimits:
        """Return the limits of *model*.

        Do not use the network. Without this method, a request has at most 128 texts.
        """
        ...
