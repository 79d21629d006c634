"""Texts, comments and names use the words of the field, and no word of the project's first dialect."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    "*.md", "docs/**/*.md", "plugins/*/*.md", "benchmarks/*.md", ".github/**/*.*",
    "*.py", "llmcore/**/*.py", "plugins/**/*.py", "tests/**/*.py", "benchmarks/**/*.py", "examples/*.py", "examples/deploy/*",
    "scripts/*", "Makefile", ".ci/run", "pyproject.toml", "plugins/*/pyproject.toml", ".pre-commit-config.yaml",
    "llmcore/cli/templates/*.txt", "tests/kits/*.mjs", "plugins/*/llmcore_*/**/*.sql", "plugins/*/llmcore_*/**/*.lua",
    "plugins/*/llmcore_*/page.*",
)  # fmt: skip
WITHOUT = {Path(__file__), ROOT / "llmcore/cli/templates/LICENSE.txt"}
WORDS = {
    r"whoever|nobody|whom": "name who it is: the caller, the server, no process",
    r"anew": "again",
    r"strangers?(?:'s)?": "third-party, another",
    r"forgo(?:es|ne)?": "abandon, skip",
    r"(?:is|are) told(?! apart)": "receives, is reported",
    r"(?<!there\s)(?:is|are) no (?!longer|more\b|later|other|such)\w+": "is not a",
    r"lets? go of|letting go of": "releases",
    r"beside": "with, next to",
    r"(?:both|two|either|each) colours?": "sync and async",
    r"says nothing|leaves no time": "NAME must be X, got Y",
    r"aboard|abreast": "waiters, concurrently",
    r"house": "host, library",
    r"so that\b[^.!?;:]*\bso that": "one `so that` in a sentence",
    r"(?<!#\s)(?-i:What) (?:is|are|was|were|came|has|had|cannot|does)(?= [^?|.]*(?:\.|\Z))": "name the thing",
}
"""The first dialect, as regular expressions (a space is any white space), and what to write instead."""
OLD = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in WORDS).replace(" ", r"\s+"), re.IGNORECASE)
OWN = re.compile(r"\bof\s+(?:its|their)\s+own\b")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
NAME = re.compile(r"^ *(?:async def|def|class) (\w+)", re.MULTILINE)


def read_prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of *path* with their first lines: the strings, comments and names of a module, or a whole page."""
    source = path.read_text()
    if path.suffix == ".md":
        yield 1, source
    elif path.suffix != ".py":
        yield 1, re.sub(r"(?m)^\s*(#|--|//)+", lambda found: " " * len(found[0]), source)
    else:
        for found in NAME.finditer(source):
            yield source[: found.start(1)].count("\n") + 1, split_name(found[1])
        if OLD.search(
            re.sub(r"[\"'#]", " ", source)
        ):  # parsing takes long, and few files have a reason for it
            yield from read_strings(source)
            yield from read_comments(source)


def split_name(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


def read_strings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def read_comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each comment; comments in consecutive lines are one text."""
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if line != first + len(lines):
                yield first, "\n".join(lines)
                first, lines = line, []
            lines.append(token.string.lstrip("# "))
    yield first, "\n".join(lines)


def find_old_words(line: int, text: str) -> list[str]:
    prose = CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return [
        f"{line + prose[: found.start()].count(chr(10))}: {' '.join(found[0].split())}"
        for found in OLD.finditer(prose)
    ]


@pytest.mark.slow
def test_no_text_uses_a_word_of_the_first_dialect() -> None:
    """`WORDS` says what to write instead."""
    paths = {path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()} - WITHOUT
    found = {
        str(path.relative_to(ROOT)): [
            word for line, text in read_prose(path) for word in find_old_words(line, text)
        ]
        for path in sorted(paths)
    }
    assert {name: words for name, words in found.items() if words} == {}


def test_no_page_says_of_its_own_twice() -> None:
    pages = {path for pattern in FILES if pattern.endswith(".md") for path in ROOT.glob(pattern)}
    counts = {str(page.relative_to(ROOT)): len(OWN.findall(page.read_text())) for page in pages}
    assert {page: count for page, count in counts.items() if count > 1} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cache that nobody reads", ["1: nobody"]),
        ("one\ntwo\nit is told of it, and is no number", ["3: is told", "3: is no number"]),
        ("A server that is\ntold", ["1: is told"]),
        ("It is no longer sent, `whoever()` and\n```\nanew\n```\n", []),
        ("besides, the strangest householder; there is no tier", []),
        ("It is closed so that the file is free, so that it can be moved.", ["1: so that the file is free, so that"]),
        ("It is closed so that the file is free. It is opened so that it can be read.", []),
        ("It ends. What is left is deleted.", ["1: What is"]),
        ("## What is deleted\n\nWhat is a lease? | What is sent |", []),
    ],
)  # fmt: skip
def test_old_words_are_found_with_their_lines(text: str, expected: list[str]) -> None:
    assert find_old_words(1, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("module.py", "x = 1  # a server that is\n       # told nothing\n", ["1: is told"]),
        ("module.py", "def send() -> str:\n    return 'it is no ' 'number'\n", ["2: is no number"]),
        ("module.py", "class SaysNothing:\n    async def ask_anew(self): ...\n", ["1: says nothing", "2: anew"]),
        ("module.py", "def whoever_asks() -> None: ...\n", ["1: whoever"]),
        ("Makefile", "x:\n# a target that is\n# told nothing\n", ["2: is told"]),
        ("page.md", "one\n# What is sent\n", []),
        ("page.md", "one\nis told\n", ["2: is told"]),
    ],
)  # fmt: skip
def test_each_kind_of_file_is_read(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    (tmp_path / name).write_text(text)
    found = [word for line, text in read_prose(tmp_path / name) for word in find_old_words(line, text)]
    assert found == expected
