"""Glob patterns for keys. `*` and `?` match inside one part of a key, the text between two "/". `**` matches across parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["compile_glob", "get_prefix"]

_WILD: Final = re.compile(r"[*?]")
_ACROSS: Final = re.compile(r"((?<![^/])(?:\*{2,}/)+|\*{2,})")
"""Matches a wildcard that spans parts of a key, or several such wildcards in a row, which mean the same as one."""


def get_prefix(pattern: str) -> str:
    """Return the prefix of *pattern* without wildcards. Every key that matches begins with it."""
    wildcard = _WILD.search(pattern)
    return pattern[: wildcard.start()] if wildcard else pattern


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Return a predicate that matches a whole key against *pattern*.

    `*` matches any text without "/". `?` matches one character except "/". `**` matches any text. `**/` at the beginning
    of a part matches any number of folders. No key can contain a wildcard, so there is no escape character.

    The text between two wildcards matches at its first occurrence, in an atomic group. The first occurrence is enough,
    because a later one leaves less text for the remaining pattern. Without backtracking, the time is at most quadratic
    in the length of the key.
    """
    first, *rest = _ACROSS.split(pattern)
    whole = _compile_part(first, ends=not rest)
    for at in range(0, len(rest), 2):
        ends = at + 2 == len(rest)
        ahead = "(?:.*?/)??" if rest[at].endswith("/") else ".*?"
        piece = ahead + _compile_part(rest[at + 1], ends=ends)
        whole += piece if ends else f"(?>{piece})"
    compiled = re.compile(whole, re.DOTALL)
    return lambda key: compiled.fullmatch(key) is not None


def _compile_part(text: str, *, ends: bool) -> str:
    """Return the expression for *text*, which contains no `**`.

    If the pattern *ends* with *text*, the last `*` is greedy.
    """
    first, *rest = map(_escape, text.split("*"))
    last = f"[^/]*{rest.pop()}" if ends and rest else ""
    return "".join([first, *(f"(?>[^/]*?{piece})" for piece in rest), last])


def _escape(text: str) -> str:
    return re.escape(text).replace(r"\?", "[^/]")
