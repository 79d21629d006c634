"""Glob patterns match like a simple implementation, and none takes exponential time."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmcore.storage.globs import compile_glob, get_prefix


@cache
def matches_simply(pattern: str, key: str, *, at_begin: bool = True) -> bool:
    """Return whether *key* matches, by trying every text for each wildcard."""
    if not pattern:
        return not key
    if at_begin and pattern.startswith("**/"):
        ends = (at for at in range(len(key) + 1) if at == 0 or key[at - 1] == "/")
        return any(matches_simply(pattern[3:], key[at:]) for at in ends)
    if pattern.startswith("*"):
        length = 2 if pattern.startswith("**") else 1
        ends = (at for at in range(len(key) + 1) if length == 2 or "/" not in key[:at])
        return any(matches_simply(pattern[length:], key[at:], at_begin=False) for at in ends)
    fits = key[:1] and (key[0] != "/" if pattern[0] == "?" else key[0] == pattern[0])
    return bool(fits) and matches_simply(pattern[1:], key[1:], at_begin=pattern[0] == "/")


PATTERNS = st.lists(st.sampled_from(["*", "**", "**/", "?", "/", "a", "b", "ab", "b/"]), max_size=9).map(
    "".join
)
KEYS = st.text("ab/", max_size=12)


def fold_wildcards(pattern: str) -> str:
    while "***" in pattern:
        pattern = pattern.replace("***", "**")
    return pattern


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(PATTERNS, KEYS)
@example("**a*b", "a/ab")
@example("**/a*/b", "a/a/b")
@example("**a**/b", "aab")
@example("**/a/**/b", "a/b")
@example("**ab*b/**/b", "abab/b/b")
@example("***/a", "a")
@example("*\n", "a\n")
def test_a_pattern_matches_like_the_simple_implementation(pattern: str, key: str) -> None:
    matches = compile_glob(pattern)(key)
    assert matches == matches_simply(fold_wildcards(pattern), key)
    assert not matches or key.startswith(get_prefix(pattern))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 5 + "*b",
        "*a" * 60 + "*b",
        "**a" * 60 + "**b",
        "**/" * 100 + "b",
        "**/*a" * 60 + "/b",
        "**a*a" * 40 + "*b",
        "*" * 300 + "b",
        "*?" * 60 + "b",
        "**?" * 60 + "b",
    ],
    ids=lambda pattern: f"{pattern[:6]}-{len(pattern)}",
)
def test_no_pattern_takes_exponential_time(pattern: str) -> None:
    matches = compile_glob(pattern)
    for key in ("a" * 200, "a" * 1024, "a/" * 512, ("a" * 20 + "/") * 48):
        assert not matches(key)
        assert matches(f"{key[:900]}b") in (True, False)
