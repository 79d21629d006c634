"""Count the tokens of whole requests as OpenAI's servers do, with rules derived from recorded answers."""

from __future__ import annotations

# A constant, because an import of `typing` takes a fifth of the time of the first token count.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from llmcore_openai_optimized.counting.prompt_bound import bound

__all__ = ["bound"]


def __getattr__(name: str) -> Any:
    if name == "bound":  # imported here: counting a text does not need the rules for requests
        from llmcore_openai_optimized.counting.prompt_bound import bound

        return bound
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
