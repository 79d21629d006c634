"""Read the text from an answer whose JSON is truncated."""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["read_partial"]

_BEGUN: Final = re.compile(rb'"content"\s*:\s*"((?:[^"\\]+|\\.)*\\?)', re.DOTALL)


def read_partial(body: bytes) -> str | None:
    """Return the beginning of the text in the truncated *body*; None if it contains no text."""
    found = _BEGUN.search(body)
    if found is None:
        return None
    text = found[1].decode(errors="ignore")
    for end in (None, -1, -2, -3, -4, -5):  # drop an escape sequence that was cut at the end
        try:
            begun: str = json.loads(f'"{text[:end]}"', strict=False)
        except ValueError:
            continue
        return begun.encode(errors="ignore").decode()  # drop half of a cut surrogate pair
    return None
