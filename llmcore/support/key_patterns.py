"""Patterns of cache keys, as `CacheMatching` defines them. The host and all caches use these rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["compile_pattern"]


def compile_pattern(pattern: str) -> Callable[[str], Any]:
    """Return a predicate that is true for keys that match: `*` matches any text, `?` one character."""
    wildcards = {"*": ".*", "?": "."}
    parts = (wildcards.get(char) or re.escape(char) for char in re.sub(r"\*+", "*", pattern))
    return re.compile("".join(parts), re.DOTALL).fullmatch
