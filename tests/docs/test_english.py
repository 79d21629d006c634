"""Texts use the words of the field, and no word of the project's first dialect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for pattern in ("llmcore/**/*.py", "llmcore_command.py", "plugins/*/llmcore_*/**/*.py", "llmcore/cli/templates/*.txt")
    for path in ROOT.glob(pattern)
    if path.name != "LICENSE.txt"
)  # fmt: skip
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
WORDS = {
    r"whoever|nobody|whom": "name who it is: the caller, the server, no process",
    r"anew": "again",
    r"strangers?(?:'s)?": "third-party, another",
    r"forgo(?:es|ne)?": "abandon, skip",
    r"(?:is|are) told(?! apart)": "receives, is reported",
    r"(?<!there )(?:is|are) no (?!longer|more\b|later|other|such)\w+": "is not a",
    r"lets? go of|letting go of": "releases",
    r"beside": "with, next to",
    r"(?:both|two|either|each) colours?": "sync and async",
    r"says nothing|leaves no time": "NAME must be X, got Y",
    r"aboard|abreast": "waiters, concurrently",
    r"\bhouse\b": "host, library",
}
"""Words of the first dialect, as regular expressions, and what to write instead."""
OLD = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in WORDS), re.IGNORECASE)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def texts(path: Path) -> list[tuple[int, str]]:
    """Return the prose of *path* with line numbers: a page, or the texts in a module (docstrings, errors, output)."""
    source = path.read_text()
    if path.suffix != ".py":
        return [(1, source)]
    return [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]


def old_words(line: int, text: str) -> list[str]:
    prose = CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return [f"{line + prose[: found.start()].count(chr(10))}: {found[0]}" for found in OLD.finditer(prose)]


def faults(path: Path) -> list[str]:
    return [word for line, text in texts(path) for word in old_words(line, text)]


@pytest.mark.slow
def test_no_text_uses_a_word_of_the_first_dialect() -> None:
    """`WORDS` says what to write instead."""
    found = {str(path.relative_to(ROOT)): faults(path) for path in MODULES + PAGES}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cache that nobody reads", ["1: nobody"]),
        ("one\ntwo\nit is told of it, and is no number", ["3: is told", "3: is no number"]),
        ("It is no longer sent, `whoever()` and\n```\nanew\n```\n", []),
        ("besides, the strangest householder; there is no tier", []),
    ],
)
def test_old_words_are_found_with_their_lines(text: str, expected: list[str]) -> None:
    assert old_words(1, text) == expected
