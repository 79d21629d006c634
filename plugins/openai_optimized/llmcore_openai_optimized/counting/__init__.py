"""What OpenAI's servers would count for a whole request, by rules that were found in recorded answers."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, whose import would be a fifth of a first count
if TYPE_CHECKING:
    from typing import Any

    from llmcore_openai_optimized.counting.bounding import bound

__all__ = ["bound"]


def __getattr__(name: str) -> Any:
    if name == "bound":  # here, so that a text alone is counted without all that requests need
        from llmcore_openai_optimized.counting.bounding import bound

        return bound
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
