"""Patterns of keys: `*` and `?` within a part, `**` across parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["beginning", "matcher"]

_WILD: Final = re.compile(r"\*\*/|\*\*|\*|\?")
_MEANING: Final = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def beginning(pattern: str) -> str:
    """Return what every key begins with that matches."""
    found = _WILD.search(pattern)
    return pattern[: found.start()] if found else pattern


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a key matches *pattern* as a whole.

    `*` stands for any text without "/", `?` for one character but "/", `**` for any text, `**/` for any folders or none.
    No key can contain one of them, so nothing needs to be escaped.
    """
    parts, at = [], 0
    for wild in _WILD.finditer(pattern):
        parts += [re.escape(pattern[at : wild.start()]), _MEANING[wild[0]]]
        at = wild.end()
    whole = re.compile("".join([*parts, re.escape(pattern[at:])]), re.DOTALL)
    return lambda key: whole.fullmatch(key) is not None
