"""Patterns of keys: `*` and `?` within a part, `**` across parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["beginning", "matcher"]

_WILD: Final = re.compile(r"[*?]")
_ACROSS: Final = re.compile(r"((?<![^/])(?:\*{2,}/)+|\*{2,})")
"""What crosses parts; repeated, it says no more than once."""


def beginning(pattern: str) -> str:
    """Return what every key begins with that matches."""
    found = _WILD.search(pattern)
    return pattern[: found.start()] if found else pattern


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a key matches *pattern* as a whole.

    `*` stands for any text without "/", `?` for one character but "/", `**` for any text, `**/` at the begin of a part for
    any folders or none. No key can contain one of them, so nothing needs to be escaped.

    What lies between two of `**` is taken where it comes first, and what lies between two of `*` likewise: a later place
    would leave less to the rest. So what was once found is never looked for again, and the time grows at most with the square
    of the key's length.
    """
    first, *rest = _ACROSS.split(pattern)
    whole = _between(first, ends=not rest)
    for at in range(0, len(rest), 2):
        ends = at + 2 == len(rest)
        ahead = "(?:.*?/)??" if rest[at].endswith("/") else ".*?"
        piece = ahead + _between(rest[at + 1], ends=ends)
        whole += piece if ends else f"(?>{piece})"
    compiled = re.compile(whole, re.DOTALL)
    return lambda key: compiled.fullmatch(key) is not None


def _between(text: str, *, ends: bool) -> str:
    """Return the expression for what has no `**` in it; where the key *ends* with it, its last `*` goes as far as it must."""
    first, *rest = map(_literal, text.split("*"))
    last = f"[^/]*{rest.pop()}" if ends and rest else ""
    return "".join([first, *(f"(?>[^/]*?{piece})" for piece in rest), last])


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\?", "[^/]")
