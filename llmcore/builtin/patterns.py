"""Patterns of keys, as `CacheMatching` defines them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["matcher"]


def matcher(pattern: str) -> Callable[[str], Any]:
    """Return what tells, by its truth, whether a key matches: `*` is any text, `?` one character, nothing else."""
    meant = {"*": ".*", "?": "."}
    parts = (meant.get(char) or re.escape(char) for char in re.sub(r"\*+", "*", pattern))
    return re.compile("".join(parts), re.DOTALL).fullmatch
