"""The models of Anthropic's servers, with the sizes of their contexts.

Sources, read 2026-11: the types of the vendor's SDK 2.14.0, and genai-prices 0.2.3.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["MODELS", "Window", "find_window"]

MODELS: Final = (
    "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest", "claude-3-5-sonnet-20240620",
    "claude-3-5-sonnet-20241022", "claude-3-5-sonnet-latest", "claude-3-7-sonnet-20250219",
    "claude-3-7-sonnet-latest", "claude-3-haiku-20240307", "claude-3-opus-20240229", "claude-3-opus-latest",
    "claude-fable-5", "claude-fable-5-1", "claude-fable-5-2", "claude-haiku-4-5", "claude-haiku-4-5-20251001",
    "claude-haiku-5-5", "claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2", "claude-mythos-preview",
    "claude-opus-4-0", "claude-opus-4-1", "claude-opus-4-1-20250805", "claude-opus-4-20250514", "claude-opus-4-5",
    "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5",
    "claude-opus-5-5", "claude-sonnet-4-0", "claude-sonnet-4-20250514", "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929", "claude-sonnet-4-6", "claude-sonnet-5", "claude-sonnet-5-5",
)  # fmt: skip


class Window(NamedTuple):
    """The size of a model."""

    context: int
    """Maximum number of tokens in a prompt and its answer together."""


_WINDOWS: Final = tuple(
    (re.compile(pattern), Window(context))
    for pattern, context in (
        (r"claude-3", 200_000),
        # With a beta header, Sonnet 4 and 4.5 read a million tokens too, so the family has this maximum.
        (r"claude-sonnet-4", 1_000_000),
        (r"claude-opus-4-(?:0|1|2025|5)", 200_000),
        (r"claude-haiku-4", 200_000),
        (r"claude-opus-4-[678]", 1_000_000),
        (r"claude-(?:fable|haiku|mythos|opus|sonnet)-5", 1_000_000),
    )
)


def find_window(model: str) -> Window | None:
    """Return the size of *model*; None if the model is unknown."""
    return next((window for pattern, window in _WINDOWS if pattern.match(model)), None)
