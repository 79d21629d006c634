"""Usage as the server reports it, made ours; what cannot be true is not believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmcore.types import Usage

__all__ = ["usage_from"]

_MOST_TOKENS: Final = 100_000_000
"""Far beyond the context window of any model."""


def usage_from(reported: Any) -> Usage | None:
    """Return the usage, or None where none was sent or its totals cannot be true.

    `prompt_tokens` hold cached and written ones, `completion_tokens` hold reasoning: parts are cut to their whole.
    """
    if not isinstance(reported, Mapping):
        return None
    prompt = _tokens(reported.get("prompt_tokens"))
    completion = _tokens(reported.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    into, out = reported.get("prompt_tokens_details"), reported.get("completion_tokens_details")
    cached = _part(into, "cached_tokens", prompt)
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=_part(into, "cache_write_tokens", prompt - cached),
        reasoning_tokens=_part(out, "reasoning_tokens", completion),
        audio_input_tokens=_part(into, "audio_tokens", prompt),
        audio_output_tokens=_part(out, "audio_tokens", completion),
    )


def _tokens(value: Any) -> int | None:
    """Return a number of tokens, or None where *value* cannot be one. NaN is below nothing and above nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_TOKENS:
        return None
    return int(value)


def _part(details: Any, name: str, whole: int) -> int:
    if not isinstance(details, Mapping):
        return 0
    return min(_tokens(details.get(name)) or 0, whole)
