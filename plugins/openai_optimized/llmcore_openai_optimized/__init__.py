"""OpenAI, and every server that speaks its protocol, for llmcore; and a face for existing code of this family."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from typing import Any

    from llmcore_openai_optimized.face import OptimizedOpenAIProvider

__all__ = ["OptimizedOpenAIProvider"]


def __getattr__(name: str) -> Any:
    if name == "OptimizedOpenAIProvider":
        from llmcore_openai_optimized.face import OptimizedOpenAIProvider

        return OptimizedOpenAIProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
