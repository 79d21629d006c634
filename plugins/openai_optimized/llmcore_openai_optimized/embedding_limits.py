"""The limits of a request for embeddings.

Source, read 2026-11: https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

from typing import Final

from llmcore.types import EmbeddingLimits
from llmcore_openai_optimized.context_windows import normalise_model

__all__ = ["get_embedding_limits"]

_OPENAI: Final = EmbeddingLimits(max_texts=2048, max_tokens=300_000, max_text_tokens=8192)
_OTHERS: Final = EmbeddingLimits(max_texts=256)
"""The limits for other models. The limits are moderate, because compatible servers have different limits."""


def get_embedding_limits(model: str) -> EmbeddingLimits:
    """Return the limits of *model*, the name of a model at OpenAI."""
    return _OPENAI if normalise_model(model).startswith("text-embedding-") else _OTHERS
