"""The methods of `LLMClient` for embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from llmcore.calls.drivers import arun, run
from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import Act
from llmcore.llm.models import Models
from llmcore.llm.options import EmbedOptions, Texts
from llmcore.pipeline import Services

if TYPE_CHECKING:
    from llmcore.types import Embeddings

__all__ = ["EmbeddingMethods"]


class EmbeddingMethods:
    """Adds `embed` and `aembed`."""

    _models: Models
    _services: Services

    def embed(
        self,
        texts: Texts,
        model: str | None = None,
        dimensions: int | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """Return one vector for each text.

        The texts are divided into requests within the vendor's limits. Each text is cached separately, so only new texts
        are requested and paid for.

        Args:
            texts: One text, or a list of texts.
            model: A model, `provider:model`, or a name of `[models]`; None means the name `embedding` of
                `[models]` if it exists, otherwise the configured model. Vectors of different models cannot be
                compared.
            dimensions: The length of a vector, for models that can shorten it; the length is part of the
                cache key.
            options: As in `chat`: `cache`, `user`, `tags`, `timeout`, `cache_ttl`, `cache_namespace`,
                `extra_body`.

        Raises:
            BadRequest: A text is empty, or an argument is not valid; nothing was sent.
            ProviderError: The backend refused a request, or failed in every configured attempt. Vectors of
                finished requests stay in the cache.
            ConfigError: An option of the provider is not valid, or its key is missing.
            PluginError: The provider has no embeddings.
        """
        with PUBLIC_CALL:
            return run(self._embed(texts, model, dimensions, options))

    async def aembed(
        self,
        texts: Texts,
        model: str | None = None,
        dimensions: int | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Embeddings:
        """See `embed`."""
        with PUBLIC_CALL:
            return await arun(self._embed(texts, model, dimensions, options))

    def _embed(
        self, texts: object, model: str | None, dimensions: object, options: EmbedOptions
    ) -> Act[Embeddings]:
        """Return the call that embeds the texts."""
        from llmcore.llm.embedding.arguments import prepare  # imported here, because a chat does not need it

        return prepare(
            self._models, self._services, texts, model=model, dimensions=dimensions, options=options
        )
