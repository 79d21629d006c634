"""OpenAI and compatible servers for llmcore. `OptimizedOpenAIProvider` is for existing code."""

from __future__ import annotations

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmcore_openai_optimized.compat import OptimizedOpenAIProvider

__all__ = ["OptimizedOpenAIProvider"]


def __getattr__(name: str) -> Any:
    if name == "OptimizedOpenAIProvider":
        from llmcore_openai_optimized.compat import OptimizedOpenAIProvider

        return OptimizedOpenAIProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
